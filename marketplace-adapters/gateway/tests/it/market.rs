//! A market that answers calls of ours as it is told, and counts them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How the market answers a call of one name.
#[derive(Clone)]
pub(crate) enum Answer {
    /// With this status and body.
    Say(u16, &'static str),
    /// Never.
    Hang,
}

#[derive(Clone)]
pub(crate) struct FakeMarket {
    answers: Arc<Mutex<Vec<(&'static str, Answer)>>>,
    calls: watch::Sender<Vec<String>>,
    pub(crate) address: SocketAddr,
}

impl FakeMarket {
    pub(crate) async fn start() -> FakeMarket {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let market = FakeMarket { answers: Arc::default(), calls: watch::Sender::new(Vec::new()), address };
        let router = Router::new().fallback(answer).with_state(market.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        market
    }

    /// Tells it how to answer calls of a name.
    pub(crate) fn on(&self, action: &'static str, answer: Answer) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|(name, _)| *name != action);
        answers.push((action, answer));
    }

    /// The names of the calls it got.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }

    /// Waits until it got this many calls.
    pub(crate) async fn wait_for(&self, count: usize) {
        self.calls.subscribe().wait_for(|calls| calls.len() >= count).await.unwrap();
    }
}

async fn answer(State(market): State<FakeMarket>, RawQuery(_): RawQuery, headers: HeaderMap) -> Response {
    let action = headers.get("x-acs-action").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let answers = market.answers.lock().unwrap().clone();
    market.calls.send_modify(|calls| calls.push(action.clone()));
    match answers.into_iter().find(|(name, _)| *name == action) {
        Some((_, Answer::Say(status, body))) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Some((_, Answer::Hang)) => std::future::pending().await,
        None => (StatusCode::BAD_REQUEST, r#"{"Code":"IllegalPermission","Message":""}"#).into_response(),
    }
}
