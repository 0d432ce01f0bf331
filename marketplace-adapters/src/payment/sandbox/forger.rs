//! Notices that nobody should believe, for trials: whoever sends them does not hold the provider's key, or holds an old
//! message of it.

use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::courier::post;
use super::{PaymentSandbox, PaymentSandboxError};
use crate::payment::hosted::signature::{self, Purpose, SIGNATURE};
use crate::payment::hosted::wire::OrderSaid;

/// How a notice is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgery {
    /// Signed with a key that is not the provider's.
    OtherKey,
    /// Not signed.
    Unsigned,
    /// Signed for this order, then changed to a larger amount.
    OtherAmount,
    /// Signed an hour ago.
    Old,
    /// Signed for another purpose: a call of ours, sent back.
    OtherPurpose,
}

impl Forgery {
    /// Every one.
    pub const ALL: [Forgery; 5] =
        [Forgery::OtherKey, Forgery::Unsigned, Forgery::OtherAmount, Forgery::Old, Forgery::OtherPurpose];
}

/// The forger's own key.
const OTHER_KEY: &str = "a-key-that-is-not-the-provider's";

impl PaymentSandbox {
    /// Sends one forged notice that says the order was paid; nothing is paid. Returns the HTTP status of the answer, 0
    /// when there was none.
    ///
    /// Fails when there is no such order.
    pub async fn forge(&self, order_id: &str, how: Forgery) -> Result<u16, PaymentSandboxError> {
        let order = self.order(order_id).ok_or(PaymentSandboxError::NoOrder)?;
        let now = (self.0.now)();
        let said = |amount_minor: i64| OrderSaid {
            merchant: Some(self.0.config.merchant.clone()),
            order_id: order.order_id.clone(),
            status: "PAID".to_owned(),
            payment_id: Some(format!("forged{}", now.as_second())),
            amount_minor: Some(amount_minor),
            currency: Some(order.currency.clone()),
            paid_at: Some(now),
        };
        let body = |amount| serde_json::to_string(&said(amount)).unwrap_or_default();
        let (genuine, larger) = (body(order.amount_minor), body(order.amount_minor.saturating_mul(100)));
        let key = self.0.notice_key.expose_secret();
        let sign = |key: &str, purpose, at| signature::sign(purpose, genuine.as_bytes(), key, at).to_vec();
        let (mut headers, mut sent) = (sign(key, Purpose::Notice, now), genuine.clone());
        match how {
            Forgery::OtherKey => headers = sign(OTHER_KEY, Purpose::Notice, now),
            Forgery::Unsigned => headers.retain(|(name, _)| *name != SIGNATURE),
            Forgery::OtherAmount => sent = larger,
            Forgery::Old => headers = sign(key, Purpose::Notice, now - SignedDuration::from_hours(1)),
            Forgery::OtherPurpose => headers = sign(key, Purpose::Order, now),
        }
        let answer = post(&order.notify_url, headers, sent).await;
        Ok(answer.map_or(0, |answer| answer.status.as_u16()))
    }
}
