//! A door in front of PostgreSQL that can be shut right after a commit, before the service hears of it.
//!
//! Whoever then kills the service has stopped it exactly at a commit boundary: the worst moment, because the work is done
//! and nobody knows.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The code of a request for TLS (PostgreSQL's protocol, section "SSLRequest").
const TLS_REQUEST: u32 = 80_877_103;

/// A database's URL with another server's address.
pub fn through(url: &str, address: SocketAddr) -> anyhow::Result<String> {
    let (scheme, rest) = url.split_once("://").context("no URL")?;
    let (authority, path) = rest.split_once('/').context("no database")?;
    let user = authority.rsplit_once('@').map(|(user, _)| format!("{user}@")).unwrap_or_default();
    Ok(format!("{scheme}://{user}{address}/{path}"))
}

/// Counts commits and stops at the one it is told.
#[derive(Debug)]
struct Gate {
    /// Commits so far.
    seen: watch::Sender<u64>,
    /// The commit after which the door is shut; 0 never.
    shut_after: watch::Sender<u64>,
}

/// The door.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    gate: Arc<Gate>,
}

impl Door {
    /// Opens a door to the server of `TANDEM_TEST_POSTGRES`.
    pub async fn open() -> anyhow::Result<Door> {
        let server = crate::engine::server();
        let authority =
            server.split("://").nth(1).and_then(|rest| rest.split('/').next()).context("no URL")?;
        let host = authority.rsplit('@').next().unwrap_or(authority).to_owned();
        let host = if host.contains(':') { host } else { format!("{host}:5432") };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Gate { seen: watch::Sender::new(0), shut_after: watch::Sender::new(0) });
        let door = Door { address, gate: Arc::clone(&gate) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (gate, host) = (Arc::clone(&gate), host.clone());
                tokio::spawn(async move { pass(client, &host, &gate).await });
            }
        });
        Ok(door)
    }

    /// Shuts the door after this many further commits.
    pub fn shut_after(&self, commits: u64) {
        let at = self.seen() + commits;
        self.gate.shut_after.send_replace(at);
    }

    /// Opens the door again.
    pub fn reopen(&self) {
        self.gate.shut_after.send_replace(0);
    }

    /// Commits so far.
    pub fn seen(&self) -> u64 {
        *self.gate.seen.borrow()
    }

    /// Waits until the door is shut.
    pub async fn shut(&self) {
        let at = *self.gate.shut_after.borrow();
        // Fails only when the sender is gone, and it lives as long as this door.
        let _ = self.gate.seen.subscribe().wait_for(|seen| *seen >= at).await;
    }
}

async fn pass(client: TcpStream, host: &str, gate: &Gate) -> std::io::Result<()> {
    let server = TcpStream::connect(host).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    begin(&mut from_client, &mut to_client, &mut to_server).await?;
    tokio::select! {
        ended = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) } => ended,
        ended = watch_answers(&mut from_server, &mut to_client, gate) => ended,
    }
}

/// Passes the first message on; a request for TLS before it is declined.
async fn begin(
    from: &mut (impl AsyncRead + Unpin),
    back: &mut (impl AsyncWrite + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut body = vec![0; usize::try_from(length).unwrap_or(4).saturating_sub(4)];
        from.read_exact(&mut body).await?;
        if body == TLS_REQUEST.to_be_bytes() {
            back.write_all(b"N").await?;
            continue;
        }
        to.write_u32(length).await?;
        return to.write_all(&body).await;
    }
}

/// Passes answers on, message by message, and counts those after which something new is durable.
async fn watch_answers(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    gate: &Gate,
) -> std::io::Result<()> {
    let mut wrote = false;
    let mut from = tokio::io::BufReader::with_capacity(64 * 1024, from);
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut body = vec![0; usize::try_from(length).unwrap_or(4).saturating_sub(4)];
        from.read_exact(&mut body).await?;
        match kind {
            // CommandComplete.
            b'C' if [b"INSERT".as_slice(), b"UPDATE", b"DELETE"].iter().any(|tag| body.starts_with(tag)) => {
                wrote |= !body.ends_with(b" 0\0");
            }
            b'C' if body.starts_with(b"ROLLBACK") => wrote = false,
            // ReadyForQuery, outside of any transaction.
            b'Z' if body == b"I" && wrote => {
                wrote = false;
                let mut seen = 0;
                gate.seen.send_modify(|count| {
                    *count += 1;
                    seen = *count;
                });
            }
            _ => {}
        }
        let at = *gate.shut_after.borrow();
        if at > 0 && *gate.seen.borrow() >= at {
            // Shut: nobody hears anything any more until the door is opened again.
            let _ = gate.shut_after.subscribe().wait_for(|at| *at == 0).await;
        }
        to.write_u8(kind).await?;
        to.write_u32(length).await?;
        to.write_all(&body).await?;
        if from.buffer().is_empty() {
            to.flush().await?;
        }
    }
}
