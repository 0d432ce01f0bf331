//! The only way out: an HTTP client with limits.
//!
//! No redirects, no proxy from the environment, no automatic repeats, a limit on time, size and concurrency. An error
//! here is a word, never a URL or a body: signed requests carry their proof in the query.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::error::ConfigError;

/// Largest answer read from a vendor: a purchase with all its texts stays far below it.
pub const RESPONSE_BYTES_MAX: usize = 256 * 1024;
/// Calls in flight to one vendor at a time; more wait their turn.
pub const CONCURRENCY_MAX: usize = 16;
/// Time for name resolution, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries of an idempotent call in all: the second one covers a connection lost by accident, an outage is the caller's.
const TRIES_MAX: u32 = 2;
/// Wait before the second try.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// Whether a call may be sent a second time without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// It only reads; it is repeated once when its answer is lost.
    Idempotent,
    /// It has an effect; it is sent at most once.
    OnceOnly,
}

/// A request, made anew (and signed anew) for every try.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method.
    pub method: http::Method,
    /// The query, encoded.
    pub query: String,
    /// Headers; `host` is set by the client.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body, at most [`RESPONSE_BYTES_MAX`].
    pub body: Bytes,
}

/// Why there is no answer. The difference decides whether usage may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The request certainly did not leave: no connection, or no name, or no trust.
    #[error("not sent: {0}")]
    NotSent(&'static str),
    /// The request may have arrived.
    #[error("answer lost: {0}")]
    AnswerLost(&'static str),
}

impl SendError {
    /// One word for codes and metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            SendError::NotSent(word) | SendError::AnswerLost(word) => word,
        }
    }
}

/// Where and how to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The vendor's address.
    pub base_url: String,
    /// Accepts plain HTTP, and hosts that are loopback or private: for the sandbox only.
    pub allow_insecure: bool,
    /// Time for one try, connecting included.
    pub timeout: Duration,
}

/// A client for one vendor's address.
pub struct HttpClient {
    client: reqwest::Client,
    base: Url,
    permits: Semaphore,
    timeout: Duration,
}

impl HttpClient {
    /// Builds the client.
    ///
    /// Fails when the address is not a plain `https` one (see [`Target::allow_insecure`]).
    pub fn new(target: &Target) -> Result<Self, ConfigError> {
        let base = check_base_url(&target.base_url, target.allow_insecure)?;
        install_tls_provider();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .https_only(!target.allow_insecure)
            .connect_timeout(CONNECT_TIMEOUT.min(target.timeout))
            .timeout(target.timeout)
            // No kept connections: a peer that closes an idle one just as a call is written would turn a call that
            // never arrived into one whose outcome is unknown, and such usage needs a person to settle it.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("tandem/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| ConfigError::HttpClient)?;
        Ok(Self { client, base, permits: Semaphore::new(CONCURRENCY_MAX), timeout: target.timeout })
    }

    /// The host, with its port when it is not the scheme's own: what the `host` header will say.
    pub fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// `make` is called for every try, because signatures carry a date and a number used once.
    pub async fn send(
        &self,
        idempotency: Idempotency,
        mut make: impl FnMut() -> Request + Send,
    ) -> Result<Answer, SendError> {
        let mut tries = 1;
        loop {
            let result = self.send_once(make()).await;
            let passing = match &result {
                Err(_) => true,
                Ok(answer) => matches!(
                    answer.status,
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
                ),
            };
            if !passing || idempotency == Idempotency::OnceOnly || tries == TRIES_MAX {
                return result;
            }
            tries += 1;
            tokio::time::sleep(RETRY_WAIT).await;
        }
    }

    async fn send_once(&self, request: Request) -> Result<Answer, SendError> {
        let Ok(permit) = tokio::time::timeout(self.timeout, self.permits.acquire()).await else {
            return Err(SendError::NotSent("busy"));
        };
        let _permit = permit.map_err(|_| SendError::NotSent("closed"))?;
        let mut url = self.base.clone();
        if !request.query.is_empty() {
            url.set_query(Some(&request.query));
        }
        let mut builder = self.client.request(request.method, url).body(request.body);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let mut response = builder.send().await.map_err(|error| sort(&error))?;
        let status = response.status();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| SendError::AnswerLost("cut"))? {
            if body.len().saturating_add(chunk.len()) > RESPONSE_BYTES_MAX {
                return Err(SendError::AnswerLost("answer_too_large"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: body.freeze() })
    }
}

/// Sorts a transport error by whether the request can have left. Reads its kind only: its text holds the URL.
fn sort(error: &reqwest::Error) -> SendError {
    if error.is_builder() {
        SendError::NotSent("bad_request")
    } else if error.is_connect() {
        SendError::NotSent("no_connection")
    } else if error.is_timeout() {
        SendError::AnswerLost("timeout")
    } else {
        SendError::AnswerLost("cut")
    }
}

/// Makes ring the process's TLS provider. A provider that is installed already is ours too: there is only one.
fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster, with the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn check_base_url(text: &str, allow_insecure: bool) -> Result<Url, ConfigError> {
    let problem = |problem| ConfigError::Value { field: "base_url", problem };
    let url = Url::parse(text).map_err(|_| problem("must be an absolute URL"))?;
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(problem("must be a plain address, without credentials, query or fragment"));
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_insecure => {}
        "http" => return Err(problem("must be https; plain http needs `allow_insecure`")),
        _ => return Err(problem("must be https")),
    }
    let inside = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => is_inside(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_inside(IpAddr::V6(ip)),
        None => return Err(problem("must name a host")),
    };
    if inside && !allow_insecure {
        return Err(problem("a loopback or private host needs `allow_insecure`"));
    }
    Ok(url)
}

fn is_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(|v4| is_inside(IpAddr::V4(v4)));
            mapped
                || ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn request() -> Request {
        Request {
            method: http::Method::GET,
            query: "Signature=sec".into(),
            headers: vec![],
            body: String::new(),
        }
    }

    fn client(address: &str) -> HttpClient {
        let target =
            Target { base_url: address.into(), allow_insecure: true, timeout: Duration::from_millis(300) };
        HttpClient::new(&target).unwrap()
    }

    /// Serves one scripted answer per connection, then stops; `None` closes the connection after the request.
    async fn serve(answers: Vec<Option<Vec<u8>>>) -> (String, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut count = 0;
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 2048];
                let _ = socket.read(&mut buffer).await.unwrap();
                count += 1;
                if let Some(bytes) = answer {
                    let _ = socket.write_all(&bytes).await;
                }
            }
            count
        });
        (address, served)
    }

    fn ok(body: &str) -> Option<Vec<u8>> {
        Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }

    #[test]
    fn insecure_addresses_need_the_flag() {
        for bad in [
            "http://market.example.com",
            "https://127.0.0.1",
            "https://localhost:1",
            "https://10.0.0.1",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://169.254.169.254",
            "https://user@market.example.com",
            "https://market.example.com/?x=1",
            "ftp://market.example.com",
            "market.example.com",
        ] {
            assert!(check_base_url(bad, false).is_err(), "accepted {bad}");
        }
        assert!(check_base_url("https://market.example.com", false).is_ok());
        assert!(check_base_url("http://127.0.0.1:9", true).is_ok());
        assert!(check_base_url("https://user@127.0.0.1:9", true).is_err());
    }

    #[tokio::test]
    async fn a_refused_connection_was_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error =
            client(&format!("http://{address}")).send(Idempotency::OnceOnly, request).await.unwrap_err();
        assert_eq!(error, SendError::NotSent("no_connection"));
    }

    #[tokio::test]
    async fn a_failed_handshake_was_not_sent() {
        let (address, served) = serve(vec![None]).await;
        let error =
            client(&address.replace("http", "https")).send(Idempotency::OnceOnly, request).await.unwrap_err();
        assert_eq!(error, SendError::NotSent("no_connection"));
        assert_eq!(served.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_cut_connection_leaves_the_outcome_open_and_is_never_repeated_by_itself() {
        let (address, served) = serve(vec![None]).await;
        let error = client(&address).send(Idempotency::OnceOnly, request).await.unwrap_err();
        assert_eq!(error, SendError::AnswerLost("cut"));
        assert!(!format!("{error} {error:?}").contains("sec"));
        assert_eq!(served.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_read_is_repeated_once() {
        let (address, served) = serve(vec![None, ok("yes")]).await;
        let mut made = 0;
        let answer = client(&address)
            .send(Idempotency::Idempotent, || {
                made += 1;
                request()
            })
            .await
            .unwrap();
        assert_eq!((&answer.body[..], made), (&b"yes"[..], 2));
        assert_eq!(served.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn silence_after_the_request_leaves_the_outcome_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let error =
            client(&format!("http://{address}")).send(Idempotency::OnceOnly, request).await.unwrap_err();
        assert_eq!(error, SendError::AnswerLost("timeout"));
    }

    #[tokio::test]
    async fn an_answer_without_end_and_a_redirect_are_not_followed() {
        let (address, _served) = serve(vec![ok(&"x".repeat(RESPONSE_BYTES_MAX + 1))]).await;
        let error = client(&address).send(Idempotency::OnceOnly, request).await.unwrap_err();
        assert_eq!(error, SendError::AnswerLost("answer_too_large"));
        let moved =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec();
        let (address, _served) = serve(vec![Some(moved)]).await;
        let answer = client(&address).send(Idempotency::OnceOnly, request).await.unwrap();
        assert_eq!(answer.status, StatusCode::FOUND);
    }
}
