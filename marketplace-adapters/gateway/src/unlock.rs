//! Somebody opens an unlock link: what is owed and what would unlock it, without signing in (`domain.md` 3.12).
//!
//! The link is Billing's, signed there and proved there. What cannot be a link of Billing's is refused without a call,
//! and whatever is wrong with one, the same page is shown. The token is never logged.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tracing::{Instrument as _, info, info_span, warn};

use crate::Gateway;
use crate::pages::UnlockPage;

/// Links opened at a time: a page for people, which must not take Billing's attention from vendors.
pub(crate) const PLACES: usize = 16;
/// Longest token: Billing's have about 200 characters.
const TOKEN_BYTES_MAX: usize = 512;

/// Shows the page of a link.
pub(crate) async fn show(
    State(gateway): State<Arc<Gateway>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let page = open(&gateway, &token).instrument(info_span!("unlock_link")).await;
    info!(page = page.name(), "an unlock link was opened: {}", page.name());
    gateway.pages.show_unlock(&page, &headers)
}

async fn open(gateway: &Gateway, token: &str) -> UnlockPage {
    if !may_be_token(token) {
        return UnlockPage::Invalid;
    }
    let Ok(_place) = gateway.unlocks.try_acquire() else {
        gateway.meters.shed("unlock");
        return UnlockPage::TryLater;
    };
    match gateway.billing.open_unlock_link(token).await {
        Ok(opened) => UnlockPage::Opened(Box::new(opened)),
        Err(status) => match reason_of(&status) {
            Some(Reason::LinkInvalid | Reason::InvalidField) => UnlockPage::Invalid,
            _ => {
                warn!(code = ?status.code(), "an unlock link could not be opened");
                UnlockPage::TryLater
            }
        },
    }
}

fn may_be_token(text: &str) -> bool {
    let base64url = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= TOKEN_BYTES_MAX
        && text.split_once('.').is_some_and(|(payload, mac)| base64url(payload) && base64url(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_token_is_asked_about() {
        assert!(may_be_token("dW5sb2Nr.c2ln-_9"));
        for bad in ["", ".", "a.", ".a", "a.b.c", "a b.c", "a", "é.a", &format!("{}.a", "a".repeat(512))] {
            assert!(!may_be_token(bad), "{bad}");
        }
    }
}
