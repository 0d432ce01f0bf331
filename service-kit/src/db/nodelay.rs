//! Statements are sent at once, not when the packet before was acknowledged.
//!
//! The driver leaves Nagle's algorithm on: of a statement that takes several writes, as every larger one over TLS does,
//! the last write waits for the server's delayed acknowledgement, up to 40 ms (its issue 4335, mended after 0.9.0; this
//! file goes with the next release). It hands no socket out, so its sockets are looked for among the process's own.

use std::io;
use std::net::TcpStream;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Sets `TCP_NODELAY` on the process's connections to a server's port.
///
/// Fails where the system forbids a process to look at its own sockets; then statements are slower, and no less right.
pub(super) fn send_at_once(port: u16) -> io::Result<()> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // Closed meanwhile, or something else than a socket.
        let is_socket =
            std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        if !is_socket {
            continue;
        }
        // A second name for the same socket: what is set holds for both, and closing this one closes nothing.
        let Ok(socket) = pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) else { continue };
        let socket = TcpStream::from(socket);
        if socket.peer_addr().is_ok_and(|peer| peer.port() == port) {
            socket.set_nodelay(true)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connections_to_the_port_are_told_and_others_left_alone() {
        let (ours, other) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let [to_ours, to_other] =
            [&ours, &other].map(|listener| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        send_at_once(ours.local_addr().unwrap().port()).unwrap();
        assert!(to_ours.nodelay().unwrap());
        assert!(!to_other.nodelay().unwrap());
    }
}
