//! What every call passes before its handler: who calls, may they, is there room, for how long; and after it: metrics,
//! a caught panic, the trace.

use std::collections::HashSet;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use opentelemetry::KeyValue;
use tandem_proto::access::{self, MethodAccess};
use tandem_proto::reason::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{DEADLINE_MAX, OPEN_SERVICES};
use crate::audit::{Attempt, Watch};
use crate::clock::SharedClock;
use crate::db::Database;
use crate::fault::Fault;
use crate::identity::{Caller, Verifier};
use crate::telemetry::{Meters, trace_context};

/// What the guard needs.
pub(super) struct Guard {
    pub(super) verifier: Arc<Verifier>,
    pub(super) calls: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) streaming: HashSet<String>,
    pub(super) meters: Meters,
    /// Where changing attempts are recorded, and by which clock; nowhere without a database.
    pub(super) audit: Option<(Database, SharedClock)>,
}

#[derive(Clone)]
pub(super) struct GuardLayer(pub(super) Arc<Guard>);

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;
    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService { inner, guard: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
pub(super) struct GuardService<S> {
    inner: S,
    guard: Arc<Guard>,
}

impl<S> Service<Request<Body>> for GuardService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone takes its place, because only the one that was polled is known to be ready.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let guard = Arc::clone(&self.guard);
        if is_open(request.uri().path()) {
            let mut inner = inner;
            return Box::pin(inner.call(request));
        }
        Box::pin(async move { Ok(guard.pass(inner, request).await) })
    }
}

/// The name of a code as metrics show it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "Ok",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

fn is_open(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(service, _)| service);
    service.is_some_and(|service| OPEN_SERVICES.contains(&service))
}

impl Guard {
    async fn pass<S>(&self, inner: S, request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        // An unknown path gets no label of its own, or anybody could make the metrics grow.
        let method = access::of(request.uri().path());
        let label = method.map_or("unknown", |method| method.path);
        let span = tracing::info_span!("rpc", rpc.method = label, caller = tracing::field::Empty);
        if let Some(parent) =
            request.headers().get(trace_context::HEADER).and_then(|value| value.to_str().ok())
        {
            trace_context::set_parent(&span, parent);
        }
        let begun = Instant::now();
        let watch = method.filter(|method| method.changes).and_then(|method| {
            let (db, clock) = self.audit.as_ref()?;
            Some(Watch::new(Arc::clone(db.audit()), clock.clone(), method.path))
        });
        let response = async {
            match method {
                Some(method) => self.admit(method, watch.as_ref(), inner, request).await,
                None => Err(Status::unimplemented("There is no such method here.")),
            }
        };
        let response = response.instrument(span.clone()).await.unwrap_or_else(Status::into_http);
        let status = Status::from_header_map(response.headers());
        let code = status.as_ref().map_or(Code::Ok, Status::code);
        if let Some(watch) = watch {
            watch.answered(status.as_ref());
        }
        let labels = [KeyValue::new("method", label), KeyValue::new("code", code_name(code))];
        let took = begun.elapsed();
        self.meters.rpc_calls.add(1, &labels);
        self.meters.rpc_seconds.record(took.as_secs_f64(), &labels);
        span.in_scope(|| tracing::debug!(code = ?code, ms = took.as_millis(), "answered {label}"));
        response
    }

    async fn admit<S>(
        &self,
        method: &'static MethodAccess,
        watch: Option<&Watch>,
        mut inner: S,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let caller = self.caller(&request, method, watch.map(Watch::attempt))?;
        tracing::Span::current().record("caller", &caller.name);
        request.extensions_mut().insert(caller);

        let streams = self.streaming.contains(method.path);
        let room = if streams { &self.streams } else { &self.calls };
        let Ok(place) = Arc::clone(room).try_acquire_owned() else {
            self.meters.rpc_shed.add(1, &[KeyValue::new("method", method.path)]);
            return Err(Fault::new(Reason::Overloaded).into());
        };
        let call = async {
            match watch {
                Some(watch) => watch.over(inner.call(request)).await,
                None => inner.call(request).await,
            }
        };
        let call = AssertUnwindSafe(call).catch_unwind();
        let result = if streams {
            call.await
        } else {
            let late =
                || Status::deadline_exceeded("The call took too long; repeat it with the same request_id.");
            tokio::time::timeout(DEADLINE_MAX, call).await.map_err(|_| late())?
        };
        match result {
            // A stream takes its place until its last message.
            Ok(Ok(response)) if streams => Ok(response.map(|body| Body::new(Held { body, _place: place }))),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => {
                tracing::error!(method = method.path, "a call panicked");
                Err(Fault::new(Reason::Internal).into())
            }
        }
    }

    /// Who calls, if they may. Without proof of a caller nothing is told, not even which roles would be right.
    fn caller(
        &self,
        request: &Request<Body>,
        method: &MethodAccess,
        attempt: Option<&Attempt>,
    ) -> Result<Caller, Fault> {
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) =
            header.and_then(|value| value.split_once(' ')).ok_or(Fault::new(Reason::TokenInvalid))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Fault::new(Reason::TokenInvalid));
        }
        let caller = self.verifier.verify(token.trim())?;
        if let Some(attempt) = attempt {
            attempt.by(&caller);
        }
        if !method.roles.contains(&caller.role) {
            tracing::info!(
                caller = caller.name,
                method = method.path,
                "refused a call: the role may not make it"
            );
            return Err(Fault::new(Reason::RoleNotAllowed));
        }
        Ok(caller)
    }
}

/// An answer's body that keeps its place among the streams.
struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
