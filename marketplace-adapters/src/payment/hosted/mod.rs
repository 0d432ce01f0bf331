//! A provider that shows the page to pay on itself: the common form of signed JSON over HTTPS.
//!
//! The wire contract stands in `README.md` beside this file.

use std::sync::Arc;

use jiff::Timestamp;

mod client;
pub mod config;
pub mod signature;
pub mod wire;

pub use config::Config;

use super::{Notice, PaymentClient, PaymentProvider};
use crate::Surroundings;
use crate::delivery::{Authenticated, Delivery, Outcome, Reply};
use crate::error::{AuthError, ConfigError, ParseError};
use signature::Purpose;

/// Both halves, ready to be used.
type Halves = (Arc<dyn PaymentProvider>, Arc<dyn PaymentClient>);

/// Makes both halves. Speaks to nobody.
///
/// Fails when an address is not allowed.
pub fn open(config: Config, surroundings: Surroundings) -> Result<Halves, ConfigError> {
    let config = Arc::new(config);
    let client = client::Client::new(Arc::clone(&config), surroundings)?;
    Ok((Arc::new(Provider { config }), Arc::new(client)))
}

/// The inbound half.
struct Provider {
    config: Arc<Config>,
}

impl PaymentProvider for Provider {
    fn authenticate<'a>(
        &self,
        delivery: &'a Delivery,
        now: Timestamp,
    ) -> Result<Authenticated<'a>, AuthError> {
        if delivery.method != http::Method::POST {
            return Err(AuthError::MethodNotAllowed);
        }
        let proof = signature::Proof::of(&delivery.headers)?;
        proof.check(Purpose::Notice, &delivery.body, self.config.notice_keys(), now)?;
        Ok(Authenticated::new(delivery))
    }

    fn parse(&self, delivery: &Authenticated<'_>) -> Result<Notice, ParseError> {
        wire::read_notice(&delivery.delivery().body, &self.config.settings.merchant)
    }

    fn reply(&self, outcome: &Outcome) -> Reply {
        wire::acknowledgement(outcome)
    }

    fn refuse(&self, _: &AuthError) -> Reply {
        wire::refusal()
    }
}

#[cfg(test)]
mod tests;
