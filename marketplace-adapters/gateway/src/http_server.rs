//! The HTTP/1.1 server that faces the internet: everything a stranger can make grow has a limit.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{debug, info, warn};

use crate::metrics::Meters;

/// Open connections. Each may hold a head and a body: 512 of them stay below 50 MiB.
const CONNECTIONS_MAX: usize = 512;
/// Most bytes of a request's first line and headers: a query of 8 KiB, and as much as proxies commonly add.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Longest time for a head to arrive, also between two requests (`reliability.md` 6).
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Wait after a failed accept: descriptors are used up, and asking at once would only burn time.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);
/// Said to whoever comes when every place is taken, without reading what they ask.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What the server holds to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Open connections.
    pub(crate) connections: usize,
    /// Longest time for a head to arrive.
    pub(crate) head_time: Duration,
    /// How long requests may go on after the process was told to stop.
    pub(crate) drain: Duration,
}

impl Limits {
    /// The limits of a real server.
    pub(crate) fn new(drain: Duration) -> Limits {
        Limits { connections: CONNECTIONS_MAX, head_time: HEAD_TIME_MAX, drain }
    }
}

/// Serves until `shutdown`, then lets requests go on for the drain time.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    meters: Meters,
    shutdown: CancellationToken,
) {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    info!(address, "marketplace-gateway takes callbacks on {address}");
    // The last line of defence: a panic ends one request, not the process (I-34).
    let router = router.layer(CatchPanicLayer::new());
    let places = Arc::new(Semaphore::new(limits.connections));
    let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            warn!("a connection could not be accepted");
            tokio::time::sleep(ACCEPT_WAIT).await;
            continue;
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let connection = Connection { router: router.clone(), limits, shutdown: shutdown.clone() };
                tasks.spawn(closing.clone().run_until_cancelled_owned(connection.serve(stream, place)));
            }
            Err(_) => {
                meters.shed("connections");
                // Without waiting: who does not take these few bytes at once does not get them.
                let _ = stream.try_write(FULL);
            }
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(limits.drain, tasks.wait()).await.is_err() {
        warn!("marketplace-gateway closes with requests unfinished after {:?}", limits.drain);
        closing.cancel();
        tasks.wait().await;
    }
}

struct Connection {
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, _place: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(self.router);
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.head_time)
                .max_header_size(HEAD_BYTES_MAX)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
        );
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            // The kind only: its text may quote what a stranger sent.
            debug!(timeout = error.is_timeout(), parse = error.is_parse(), "a connection broke off");
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn start(limits: Limits) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "yes" })).route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        );
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router, limits, Meters::new(), stop.clone()));
        (address, stop, server)
    }

    fn limits() -> Limits {
        Limits { connections: 1, head_time: Duration::from_millis(50), drain: Duration::from_secs(5) }
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_slow_head_is_cut_off_and_makes_room() {
        let (address, stop, server) = start(limits()).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(answer(&mut second).await.starts_with("HTTP/1.1 503"));
        assert!(!answer(&mut slow).await.contains("200"));
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(answer(&mut third).await.ends_with("yes"));
        stop.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_huge_head_and_a_panic_hurt_only_themselves() {
        let (address, stop, server) =
            start(Limits { connections: 8, ..Limits::new(Duration::from_secs(5)) }).await;
        let mut huge = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /?{} HTTP/1.1\r\nhost: x\r\n\r\n", "q".repeat(HEAD_BYTES_MAX));
        // The server may close before it has read everything; then nothing can be written or read any more.
        let _ = huge.write_all(head.as_bytes()).await;
        let mut said = Vec::new();
        let _ = huge.read_to_end(&mut said).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"));
        for (path, status) in [("/panic", "500"), ("/", "200")] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            assert!(answer(&mut stream).await.starts_with(&format!("HTTP/1.1 {status}")));
        }
        stop.cancel();
        server.await.unwrap();
    }
}
