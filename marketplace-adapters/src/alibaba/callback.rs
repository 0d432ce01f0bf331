//! Makes callbacks as the vendor would, for trials and for the sandbox.

use http::Method;
use secrecy::{ExposeSecret, SecretString};

use super::signature::{Pairs, encode_pairs, token};
use super::wire;
use crate::callback::{CallbackAction, CallbackError, CallbackFields, SignedCallback};

/// Signs parameters: the query of a callback, token included.
pub fn sign_query(key: &str, pairs: &[(&str, &str)]) -> String {
    let mut pairs: Pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    pairs.remove("token");
    let token = token(&pairs, key);
    pairs.insert("token".to_owned(), token);
    encode_pairs(&pairs)
}

/// Makes a callback, signed.
///
/// Fails when a field the action needs is missing. Values are not checked: a trial may want wrong ones.
pub fn sign_callback(
    key: &SecretString,
    action: CallbackAction,
    fields: &CallbackFields,
) -> Result<SignedCallback, CallbackError> {
    let instance = text(&fields.instance, "an instance");
    let order = text(&fields.order, "an order");
    let plan = text(&fields.plan, "a plan");
    let expires = fields.expires_at.map(wire::format_time);
    let expires_on = text(&expires, "an expiry");
    let trial = fields.trial.to_string();
    let refund = fields.refund.to_string();
    let at = fields.at.map(wire::format_time);
    let mut pairs: Vec<(&str, &str)> = match action {
        CallbackAction::Create | CallbackAction::OrderPay => vec![
            ("aliUid", text(&fields.account, "an account")?),
            ("orderBizId", instance?),
            ("orderId", order?),
            ("productCode", text(&fields.product, "a product")?),
            ("skuId", plan?),
        ],
        CallbackAction::Renew => {
            vec![("instanceId", instance?), ("orderId", order?), ("expiredOn", expires_on?)]
        }
        CallbackAction::Upgrade => vec![("instanceId", instance?), ("skuId", plan?)],
        CallbackAction::Expire => vec![("instanceId", instance?)],
        CallbackAction::Release => vec![("instanceId", instance?), ("isRefund", &refund)],
        CallbackAction::RefundRenew => vec![("instanceId", instance?), ("expiredOn", expires_on?)],
        CallbackAction::Land => vec![("instanceId", instance?), ("timeStamp", text(&at, "a time")?)],
    };
    match action {
        CallbackAction::Create => {
            pairs.push(("trial", &trial));
            pairs.extend(expires.as_deref().map(|text| ("expiredOn", text)));
        }
        CallbackAction::OrderPay => pairs.push(("requestId", text(&fields.message_id, "a message id")?)),
        CallbackAction::Upgrade | CallbackAction::Release => {
            pairs.extend(fields.order.as_deref().map(|text| ("orderId", text)));
        }
        _ => {}
    }
    pairs.push(("action", word(action)));
    pairs.extend(fields.extra.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(SignedCallback {
        method: Method::GET,
        query: sign_query(key.expose_secret(), &pairs),
        headers: Vec::new(),
        body: String::new(),
    })
}

fn text<'a>(field: &'a Option<String>, what: &'static str) -> Result<&'a str, CallbackError> {
    field.as_deref().ok_or(CallbackError::MissingField(what))
}

/// The vendor's word for an action (`vendors/alibaba.md` 5).
fn word(action: CallbackAction) -> &'static str {
    match action {
        CallbackAction::Create => wire::CREATE,
        CallbackAction::Renew => "renewInstance",
        CallbackAction::Upgrade => "upgradeInstance",
        CallbackAction::Expire => "expiredInstance",
        CallbackAction::Release => "releaseInstance",
        CallbackAction::RefundRenew => "refundRenewInstance",
        CallbackAction::OrderPay => "orderPay",
        CallbackAction::Land => wire::VERIFY,
    }
}
