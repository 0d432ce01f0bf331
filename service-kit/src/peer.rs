//! Calling another Tandem service: token, trace and time limit on every call, and safe repetition.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_proto::reason::{Reason, Retry};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::fault::Fault;
use crate::fresh::jittered;
use crate::identity::{LIFETIME_SECS_MAX, Signer};
use crate::telemetry::trace_context;

/// How long before its end a token is no longer used.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// Longest time to make a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// First wait between tries when the peer names none; it doubles.
const RETRY_WAIT: Duration = Duration::from_millis(100);
/// Longest wait between tries: whoever waits longer should leave it to the outbox.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// What generated clients are made from: `BillServiceClient::new(peer.channel())`.
pub type PeerChannel = InterceptedService<Channel, PeerInterceptor>;

/// Another Tandem service.
#[derive(Clone)]
pub struct Peer {
    channel: Channel,
    interceptor: PeerInterceptor,
}

/// Adds token and trace to a call.
#[derive(Clone)]
pub struct PeerInterceptor {
    tokens: Arc<Tokens>,
}

struct Tokens {
    signer: Arc<Signer>,
    audience: String,
    cached: Mutex<Option<(MetadataValue<Ascii>, Instant)>>,
}

impl Peer {
    /// Makes a peer without connecting yet, so that services start in any order. Each call may take `timeout`.
    ///
    /// Fails when `uri` is no URI. Call it inside a runtime.
    pub fn connect_lazy(
        uri: &str,
        signer: Arc<Signer>,
        audience: &str,
        timeout: Duration,
    ) -> Result<Peer, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(uri.to_owned())?
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        let tokens = Tokens { signer, audience: audience.to_owned(), cached: Mutex::new(None) };
        Ok(Peer {
            channel: endpoint.connect_lazy(),
            interceptor: PeerInterceptor { tokens: Arc::new(tokens) },
        })
    }

    /// The channel for a generated client. Cheap: connections are shared.
    pub fn channel(&self) -> PeerChannel {
        InterceptedService::new(self.channel.clone(), self.interceptor.clone())
    }
}

impl Interceptor for PeerInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self.tokens.current()?;
        request.metadata_mut().insert("authorization", token);
        if let Some(traceparent) = trace_context::current().and_then(|text| text.parse().ok()) {
            request.metadata_mut().insert(trace_context::HEADER, traceparent);
        }
        Ok(request)
    }
}

impl Tokens {
    fn current(&self) -> Result<MetadataValue<Ascii>, Status> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, until)) = cached.as_ref()
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let text = format!("Bearer {}", self.signer.token_now(&[&self.audience]));
        let mut token: MetadataValue<Ascii> =
            text.parse().map_err(|_| Status::from(Fault::new(Reason::Internal)))?;
        token.set_sensitive(true);
        let lifetime = Duration::from_secs(LIFETIME_SECS_MAX.unsigned_abs());
        *cached = Some((token.clone(), Instant::now() + lifetime.saturating_sub(RENEW_BEFORE)));
        Ok(token)
    }
}

/// Makes a call up to `tries` times while the peer is away, overloaded or in conflict. `call` must send the same request
/// with the same `request_id` each time, because the outcome of a failed try is not known.
pub async fn call_with_retry<T, F, Fut>(tries: u32, mut call: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let mut wait = RETRY_WAIT;
    let mut left = tries.max(1);
    loop {
        left -= 1;
        match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if left == 0 || !may_repeat(&status) => return Err(status),
            Err(status) => {
                let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
                if asked.is_some_and(|asked| asked > RETRY_WAIT_MAX) {
                    return Err(status);
                }
                // Never earlier than the peer asked for; the jitter comes on top.
                tokio::time::sleep(asked.unwrap_or_default() + jittered(wait)).await;
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
        }
    }
}

fn may_repeat(status: &Status) -> bool {
    match Fault::from_status(status) {
        Some(fault) => fault.reason.retry() != Retry::Never,
        None => matches!(
            status.code(),
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled
        ),
    }
}

/// What a peer's failure means for our own caller: its reason when it has one of ours that the caller may hear, else that
/// the peer is away, else a fault of ours.
pub fn fault(status: &Status) -> Fault {
    match Fault::from_status(status) {
        // These speak of our own call, not of our caller's.
        Some(fault)
            if matches!(fault.reason, Reason::TokenInvalid | Reason::RoleNotAllowed | Reason::Internal) =>
        {
            tracing::error!(status = ?status.code(), reason = fault.reason.name(), "a peer refused our call");
            Fault::new(Reason::Internal)
        }
        Some(fault) => fault,
        None => match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                Fault::new(Reason::PeerUnavailable)
            }
            code => {
                tracing::error!(status = ?code, "a peer answered without a reason");
                Fault::new(Reason::Internal)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn only_what_may_pass_is_repeated() {
        let tried = Cell::new(0);
        let answer = |status: fn(u32) -> Result<Response<u32>, Status>| {
            tried.set(0);
            let tried = &tried;
            call_with_retry(3, move || {
                tried.set(tried.get() + 1);
                std::future::ready(status(tried.get()))
            })
        };
        let second = |try_: u32| if try_ < 2 { Err(Status::unavailable("x")) } else { Ok(Response::new(7)) };
        assert_eq!(answer(second).await.unwrap(), 7);
        assert_eq!(tried.get(), 2);
        assert_eq!(answer(|_| Err(Status::unavailable("x"))).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(tried.get(), 3);
        assert!(answer(|_| Err(Fault::new(Reason::EmailTaken).into())).await.is_err());
        assert_eq!(tried.get(), 1);
        assert!(answer(|_| Err(Fault::new(Reason::VendorUnavailable).into())).await.is_err());
        assert_eq!(tried.get(), 1, "nobody waits thirty seconds inside a call");
    }

    #[test]
    fn a_peers_reason_is_passed_on_unless_it_speaks_of_our_own_call() {
        let reason = |status: Status| fault(&status).reason;
        assert_eq!(reason(Fault::new(Reason::PurchaseEnded).into()), Reason::PurchaseEnded);
        assert_eq!(reason(Fault::new(Reason::TokenInvalid).into()), Reason::Internal);
        assert_eq!(reason(Status::unavailable("x")), Reason::PeerUnavailable);
        assert_eq!(reason(Status::deadline_exceeded("x")), Reason::PeerUnavailable);
        assert_eq!(reason(Status::unknown("x")), Reason::Internal);
    }
}
