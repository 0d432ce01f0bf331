//! What vendors send: limit, prove, translate, hand to Billing, reply.
//!
//! A delivery that is not proved changes nothing and causes no call. The vendor is told "done" only after Billing has
//! committed; if Billing is away or unclear, the vendor gets the answer that makes it call again. Nothing here logs a
//! query, a body or a header: vendors put their proof there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use tandem_adapters::delivery::{Authenticated, Delivery, Outcome, Reply};
use tandem_adapters::error::{AuthError, ParseError};
use tandem_adapters::event::{EventKind, MarketplaceEvent, Parsed};
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::Gateway;
use crate::convert;
use crate::landing;
use crate::markets::Served;
use crate::metrics::outcome_name;
use crate::pages::Page;
use crate::status;
use crate::unlock;

/// Most bytes of a body (`reliability.md` 6).
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a query (`vendors/*.md`, must reject).
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Longest time for a body to arrive (`reliability.md` 6).
const READ_TIME_MAX: Duration = Duration::from_secs(5);

/// Where a delivery came in. What it is, its proof says; this only decides how a refusal looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entrance {
    /// The address a vendor's machines call.
    Callback,
    /// The address a buyer's browser is sent to.
    Landing,
}

#[derive(Debug, Deserialize)]
struct Names {
    vendor: String,
    market: Option<String>,
}

/// The addresses that face the internet.
pub(crate) fn routes(gateway: Arc<Gateway>) -> Router {
    let callback = |gateway, names, request| enter(gateway, names, request, Entrance::Callback);
    let landing = |gateway, names, request| enter(gateway, names, request, Entrance::Landing);
    Router::new()
        .route("/callbacks/{vendor}", any(callback))
        .route("/callbacks/{vendor}/{market}", any(callback))
        .route("/landing/{vendor}", any(landing))
        .route("/landing/{vendor}/{market}", any(landing))
        .route("/unlock/{token}", get(unlock::show))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .with_state(gateway)
}

async fn enter(
    State(gateway): State<Arc<Gateway>>,
    Path(names): Path<Names>,
    request: Request<Body>,
    entrance: Entrance,
) -> Response {
    let Some(served) = gateway.markets.at(&names.vendor, names.market.as_deref()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let delivery = match read(request).await {
        Ok(delivery) => delivery,
        Err(status) => {
            gateway.meters.refused(served, limit_name(status));
            return status.into_response();
        }
    };
    let (vendor, market) = (served.connection.vendor.name(), served.connection.market.name());
    // A trace begins here: one that came with the delivery would be anybody's.
    let span = info_span!("callback", vendor, market, event.kind = tracing::field::Empty);
    Visit { gateway: &gateway, served, entrance }.receive(&delivery).instrument(span).await
}

/// Reads a request within its limits.
pub(crate) async fn read(request: Request<Body>) -> Result<Delivery, StatusCode> {
    let (parts, body) = request.into_parts();
    if !matches!(parts.method, Method::GET | Method::POST) {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let query = parts.uri.query().unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        return Err(StatusCode::URI_TOO_LONG);
    }
    Ok(Delivery {
        path: parts.uri.path().to_owned(),
        query: query.to_owned(),
        method: parts.method,
        headers: parts.headers,
        body: read_body(body, READ_TIME_MAX).await?,
    })
}

async fn read_body(body: Body, time_max: Duration) -> Result<Bytes, StatusCode> {
    let whole = tokio::time::timeout(time_max, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match whole.map_err(|_| StatusCode::REQUEST_TIMEOUT)? {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

pub(crate) fn limit_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::URI_TOO_LONG => "query_too_long",
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_long",
        StatusCode::REQUEST_TIMEOUT => "too_slow",
        _ => "broken_off",
    }
}

/// One delivery at one market.
struct Visit<'a> {
    gateway: &'a Gateway,
    served: &'a Served,
    entrance: Entrance,
}

impl Visit<'_> {
    async fn receive(&self, delivery: &Delivery) -> Response {
        let adapter = &self.served.connection.adapter;
        let proved = match adapter.authenticate(delivery, self.gateway.clock.now()) {
            Ok(proved) => proved,
            Err(error) => return self.refuse(&error, &delivery.headers),
        };
        match adapter.parse(&proved) {
            Ok(Parsed::Events(events)) => self.record(&proved, &events).await,
            Ok(Parsed::Landing(landing)) => {
                let page = landing::open(self.gateway, self.served, &landing).await;
                self.show(&page, &delivery.headers)
            }
            Err(error) => self.misunderstood(&proved, &error),
        }
    }

    /// The sender is not proved: nothing happens, and a scanner learns nothing.
    fn refuse(&self, error: &AuthError, headers: &HeaderMap) -> Response {
        self.gateway.meters.refused(self.served, error.label());
        info!(reason = error.label(), "refused a delivery: {error}");
        // Where callbacks carry no date, only a buyer's link can be too old: a person waits for the answer.
        let is_person = !self.served.connection.adapter.capabilities().callbacks_are_dated;
        match (error, self.entrance) {
            (AuthError::Stale, Entrance::Callback) if is_person => self.show(&Page::LinkExpired, headers),
            (AuthError::Stale, Entrance::Landing) => self.show(&Page::LinkExpired, headers),
            (_, Entrance::Landing) => self.show(&Page::LinkInvalid, headers),
            (_, Entrance::Callback) => into_response(self.served.connection.adapter.refuse(error)),
        }
    }

    /// Genuine, but it cannot be translated: never guessed, the vendor calls again.
    fn misunderstood(&self, proved: &Authenticated<'_>, error: &ParseError) -> Response {
        let kind = match error {
            ParseError::UnknownProduct { .. } => "unknown_product",
            ParseError::UnknownPlan { .. } => "unknown_plan",
            ParseError::MissingField { .. } | ParseError::BadField { .. } => "not_understood",
        };
        self.gateway.meters.alarm(self.served, kind);
        error!(alarm = kind, "a genuine delivery cannot be translated: {error}");
        if self.entrance == Entrance::Landing {
            return self.show(&Page::LinkInvalid, &proved.delivery().headers);
        }
        self.reply(proved, &Outcome::Refused { reason: kind.to_owned() }, Instant::now())
    }

    async fn record(&self, proved: &Authenticated<'_>, events: &[MarketplaceEvent]) -> Response {
        let begun = Instant::now();
        if let Some(first) = events.first() {
            tracing::Span::current().record("event.kind", first.kind.name());
        }
        let outcome = match self.served.inbound.try_acquire() {
            Ok(_place) => self.hand_over(events).await,
            Err(_) => {
                self.gateway.meters.shed("inbound");
                warn!("turned a callback away: as many as allowed are with Billing");
                Outcome::Unavailable
            }
        };
        self.reply(proved, &outcome, begun)
    }

    async fn hand_over(&self, events: &[MarketplaceEvent]) -> Outcome {
        // What nobody understands and belongs to no purchase has no place in Billing's record.
        let (nameless, named): (Vec<_>, Vec<_>) =
            events.iter().partition(|e| e.vendor_instance_id.is_empty());
        let mut outcomes: Vec<Outcome> = nameless.iter().map(|_| Outcome::Parked).collect();
        if !named.is_empty() {
            let messages = named.iter().map(|event| convert::event_to_message(event)).collect();
            match self.gateway.billing.record(messages).await {
                Err(status) => {
                    let outcome = status::outcome_of(&status);
                    if let Outcome::Refused { .. } = outcome {
                        self.gateway.meters.alarm(self.served, "billing_refused");
                    }
                    outcomes.push(outcome);
                }
                Ok(answers) => {
                    for (event, answer) in named.iter().zip(&answers) {
                        self.watch(event, &answer.reason);
                        outcomes.push(convert::outcome_from_message(event.kind, answer));
                    }
                }
            }
        }
        for event in events.iter().filter(|event| event.kind == EventKind::Unknown) {
            self.gateway.meters.alarm(self.served, "unknown_action");
            let action = event.details.get("action").map(String::as_str).unwrap_or_default();
            error!(
                alarm = "unknown_action",
                action,
                instance = event.vendor_instance_id,
                "a vendor said an unknown word"
            );
        }
        convert::worst(outcomes)
    }

    /// A reason beside an event is a remark of Billing's: the purchase is not known, has ended, or is somebody else's.
    fn watch(&self, event: &MarketplaceEvent, reason: &str) {
        if !reason.is_empty() {
            self.gateway.meters.alarm(self.served, "event_questioned");
            let (kind, instance) = (event.kind.name(), &event.vendor_instance_id);
            error!(
                alarm = "event_questioned",
                kind, instance, reason, "Billing questions {kind} of {instance}: {reason}"
            );
        }
    }

    fn reply(&self, proved: &Authenticated<'_>, outcome: &Outcome, begun: Instant) -> Response {
        self.gateway.meters.callback(self.served, outcome, begun.elapsed());
        info!(outcome = outcome_name(outcome), "answered a callback: {}", outcome_name(outcome));
        into_response(self.served.connection.adapter.reply(proved, outcome))
    }

    fn show(&self, page: &Page, headers: &HeaderMap) -> Response {
        self.gateway.meters.landing(self.served, page.name());
        info!(page = page.name(), "showed a buyer the page {}", page.name());
        self.gateway.pages.show(page, &self.served.connection, headers)
    }
}

pub(crate) fn into_response(reply: Reply) -> Response {
    let mut response = (reply.status, reply.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// A body whose next piece never comes.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let read = read_body(Body::new(Silent), Duration::from_millis(20)).await;
        assert_eq!(read, Err(StatusCode::REQUEST_TIMEOUT));
    }

    #[tokio::test]
    async fn limits_are_exact() {
        let body = |bytes| read_body(Body::from(vec![0; bytes]), READ_TIME_MAX);
        assert!(body(BODY_BYTES_MAX).await.is_ok());
        assert_eq!(body(BODY_BYTES_MAX + 1).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        let request = |query: String| Request::get(format!("/x?{query}")).body(Body::empty()).unwrap();
        assert!(read(request("q".repeat(QUERY_BYTES_MAX))).await.is_ok());
        let status = read(request("q".repeat(QUERY_BYTES_MAX + 1))).await.unwrap_err();
        assert_eq!(status, StatusCode::URI_TOO_LONG);
        let head = Request::head("/x").body(Body::empty()).unwrap();
        assert_eq!(read(head).await.unwrap_err(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
