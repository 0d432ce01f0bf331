//! The vendor's words: what a callback means and how it is answered (`vendors/alibaba.md` 3 and 5).

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde_json::{Value, json};
use tandem_proto::vendor::Vendor;

use super::config::{AppInfo, Settings};
use super::ids;
use super::signature::{Pairs, encode_pairs, sha256_hex};
use crate::delivery::{Outcome, Reply};
use crate::error::ParseError;
use crate::event::{EventKind, KeyScope, MarketplaceEvent};

/// The form of the vendor's times (`vendors/alibaba.md` 5.1); the zone is never stated and read as UTC+8.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";
/// The vendor's clock, in hours from UTC.
pub(super) const ZONE: Offset = Offset::constant(8);

/// The callback of a first purchase; its answer has a form of its own.
pub(super) const CREATE: &str = "createInstance";
/// The password-free link.
pub(super) const VERIFY: &str = "verify";

/// Parts of names whose values stay out of an event's details.
const SECRET_WORDS: [&str; 6] = ["token", "password", "secret", "accesskey", "appjson", "hostjson"];

/// Reads one of the vendor's times; 13 digits are milliseconds, as one demo sends them.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    if text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit()) {
        return Timestamp::from_millisecond(text.parse().ok()?).ok();
    }
    // Exactly the vendor's form: the library alone would also take fewer digits.
    if text.len() != 19 {
        return None;
    }
    let local = DateTime::strptime(TIME_FORMAT, text).ok()?;
    ZONE.to_timestamp(local).ok()
}

/// Writes a time as the vendor does.
pub(super) fn format_time(at: Timestamp) -> String {
    ZONE.to_datetime(at).strftime(TIME_FORMAT).to_string()
}

/// Reads required and optional fields of a callback.
struct Fields<'a> {
    pairs: &'a Pairs,
    settings: &'a Settings,
}

impl<'a> Fields<'a> {
    fn optional(&self, field: &str) -> Option<&'a str> {
        self.pairs.get(field).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn required(&self, field: &'static str) -> Result<&'a str, ParseError> {
        self.optional(field).ok_or(ParseError::MissingField { field })
    }

    fn shaped(&self, field: &'static str, fits: impl Fn(&str) -> bool) -> Result<String, ParseError> {
        let text = self.required(field)?;
        if fits(text) { Ok(text.to_owned()) } else { Err(ParseError::BadField { field }) }
    }

    fn instance(&self, field: &'static str) -> Result<String, ParseError> {
        self.shaped(field, ids::is_instance)
    }

    fn account(&self) -> Result<String, ParseError> {
        self.shaped("aliUid", |text| ids::is_account(text, self.settings.strict_ids))
    }

    fn order(&self) -> Result<String, ParseError> {
        self.shaped("orderId", ids::is_order)
    }

    fn optional_order(&self) -> Result<Option<String>, ParseError> {
        self.optional("orderId").map(|_| self.order()).transpose()
    }

    fn time(&self, field: &'static str) -> Result<Timestamp, ParseError> {
        parse_time(self.required(field)?).ok_or(ParseError::BadField { field })
    }

    fn flag(&self, field: &'static str) -> Result<bool, ParseError> {
        match self.optional(field) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ParseError::BadField { field }),
        }
    }

    fn product(&self) -> Result<String, ParseError> {
        let code = self.required("productCode")?;
        let known = self.settings.products.contains_key(code);
        if known {
            Ok(code.to_owned())
        } else {
            Err(ParseError::UnknownProduct { product_code: code.to_owned() })
        }
    }

    /// Our plan for a `skuId`; a callback that names no product is searched in all of ours.
    fn plan(&self, product: Option<&str>) -> Result<String, ParseError> {
        let sku = self.required("skuId")?;
        let mut products =
            self.settings.products.iter().filter(|(code, _)| product.is_none_or(|p| p == *code));
        let plan = products.find_map(|(_, product)| product.plans.get(sku));
        plan.cloned().ok_or_else(|| ParseError::UnknownPlan { plan: sku.to_owned() })
    }

    fn details(&self) -> BTreeMap<String, String> {
        let secret = |name: &str| {
            let name = name.to_ascii_lowercase();
            name == "key" || SECRET_WORDS.iter().any(|word| name.contains(word))
        };
        self.pairs.iter().filter(|(name, _)| !secret(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// A digest of some of the parameters, short enough for a key.
    fn digest(&self, keep: impl Fn(&str) -> bool) -> String {
        let kept: Pairs = self
            .pairs
            .iter()
            .filter(|(n, _)| *n != "token" && keep(n))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let mut digest = sha256_hex(encode_pairs(&kept).as_bytes());
        digest.truncate(32);
        digest
    }
}

/// Translates a callback, all but the password-free link, into its one event.
pub(super) fn event(pairs: &Pairs, settings: &Settings) -> Result<MarketplaceEvent, ParseError> {
    let fields = Fields { pairs, settings };
    let action = fields.required("action")?;
    let mut event = MarketplaceEvent {
        vendor: Vendor::Alibaba,
        market: settings.market,
        kind: EventKind::Unknown,
        event_key: String::new(),
        key_scope: KeyScope::Unique,
        vendor_instance_id: String::new(),
        vendor_account_id: None,
        vendor_order_id: None,
        product_code: None,
        plan: None,
        is_trial: false,
        expires_at: None,
        details: fields.details(),
    };
    match action {
        CREATE => {
            event.kind = EventKind::Subscribed;
            purchase(&fields, &mut event)?;
            event.is_trial = fields.flag("trial")?;
            event.expires_at = fields.optional("expiredOn").map(|_| fields.time("expiredOn")).transpose()?;
            // The digest keeps a repeat with other content apart from the first call, so that it is noticed.
            let identity = ["aliUid", "orderBizId", "orderId", "productCode", "skuId", "trial"];
            let digest = fields.digest(|name| identity.contains(&name));
            event.event_key = format!("{CREATE}:{}:{digest}", event.vendor_instance_id);
        }
        "orderPay" => {
            event.kind = EventKind::Paid;
            purchase(&fields, &mut event)?;
            let request = fields.shaped("requestId", ids::is_message)?;
            event.event_key = format!("orderPay:{request}");
        }
        "renewInstance" => {
            event.kind = EventKind::Renewed;
            event.vendor_instance_id = fields.instance("instanceId")?;
            let order = fields.order()?;
            event.expires_at = Some(fields.time("expiredOn")?);
            event.event_key = format!("renewInstance:{}:{order}", event.vendor_instance_id);
            event.vendor_order_id = Some(order);
        }
        "upgradeInstance" => {
            event.kind = EventKind::PlanChanged;
            event.vendor_instance_id = fields.instance("instanceId")?;
            event.plan = Some(fields.plan(None)?);
            event.vendor_order_id = fields.optional_order()?;
            match &event.vendor_order_id {
                Some(order) => {
                    event.event_key = format!("upgradeInstance:{}:{order}", event.vendor_instance_id)
                }
                None => {
                    // Without an order, going back to a former plan looks like a repeat of the earlier call.
                    let digest = fields.digest(|_| true);
                    event.event_key = format!("upgradeInstance:{}:{digest}", event.vendor_instance_id);
                    event.key_scope = KeyScope::PerState;
                }
            }
        }
        "expiredInstance" => {
            event.kind = EventKind::Suspended;
            event.vendor_instance_id = fields.instance("instanceId")?;
            event.event_key = format!("expiredInstance:{}", event.vendor_instance_id);
            event.key_scope = KeyScope::PerState;
        }
        "releaseInstance" => {
            event.kind = EventKind::Cancelled;
            event.vendor_instance_id = fields.instance("instanceId")?;
            event.vendor_order_id = fields.optional_order()?;
            fields.flag("isRefund")?;
            event.event_key = format!("releaseInstance:{}", event.vendor_instance_id);
            event.key_scope = KeyScope::PerState;
        }
        "refundRenewInstance" => {
            event.kind = EventKind::RenewalReturned;
            event.vendor_instance_id = fields.instance("instanceId")?;
            let expires_at = fields.time("expiredOn")?;
            event.expires_at = Some(expires_at);
            event.event_key = format!("refundRenewInstance:{}:{expires_at}", event.vendor_instance_id);
            event.key_scope = KeyScope::PerState;
        }
        _ => {
            event.vendor_instance_id = fields
                .optional("instanceId")
                .filter(|text| ids::is_instance(text))
                .unwrap_or_default()
                .to_owned();
            event.event_key = format!("unknown:{}", fields.digest(|_| true));
        }
    }
    Ok(event)
}

fn purchase(fields: &Fields<'_>, event: &mut MarketplaceEvent) -> Result<(), ParseError> {
    event.vendor_account_id = Some(fields.account()?);
    event.vendor_instance_id = fields.instance("orderBizId")?;
    event.vendor_order_id = Some(fields.order()?);
    let product = fields.product()?;
    event.plan = Some(fields.plan(Some(&product))?);
    event.product_code = Some(product);
    Ok(())
}

/// Answers a proved callback (`vendors/alibaba.md` 5).
///
/// Always HTTP 200: the vendor reads the body, and repeats the call unless it says that it was done.
pub(super) fn reply(pairs: &Pairs, app_info: &AppInfo, outcome: &Outcome) -> Reply {
    let action = pairs.get("action").map(String::as_str).unwrap_or_default();
    let body = if action == CREATE { create_answer(pairs, app_info, outcome) } else { state_answer(outcome) };
    Reply::json(StatusCode::OK, &body)
}

fn create_answer(pairs: &Pairs, app_info: &AppInfo, outcome: &Outcome) -> Value {
    match (outcome, pairs.get("orderBizId")) {
        // The number is echoed, so that one and the same names the purchase everywhere (section 3).
        (Outcome::Applied | Outcome::Duplicate, Some(instance)) => json!({
            "instanceId": instance,
            "appInfo": {
                "frontEndUrl": app_info.front_end_url,
                "adminUrl": app_info.admin_url,
                "username": "",
                "password": "",
                "authUrl": app_info.auth_url,
            },
            "hostInfo": {},
            "info": {},
        }),
        // "0" means "call me again"; the purchase is not ready before it can be bound.
        (Outcome::Pending | Outcome::Unavailable, _) => json!({"instanceId": "0"}),
        _ => json!({"instanceId": "0", "success": false}),
    }
}

fn state_answer(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Applied | Outcome::Duplicate | Outcome::Pending => json!({"success": true}),
        Outcome::Parked | Outcome::Refused { .. } | Outcome::Unavailable => json!({"success": false}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_utc_plus_8_or_not_at_all() {
        let at = parse_time("2026-12-31 23:59:59").unwrap();
        assert_eq!(at.to_string(), "2026-12-31T15:59:59Z");
        assert_eq!(format_time(at), "2026-12-31 23:59:59");
        assert_eq!(parse_time("1772323200000").unwrap().to_string(), "2026-03-01T00:00:00Z");
        assert!(parse_time("2099-12-31 23:59:59").is_some());
        for bad in [
            "",
            "2026-12-31",
            "2026-13-01 00:00:00",
            "2026-12-31T23:59:59",
            "1772323200",
            "2026-1-1 0:0:0",
            "soon",
        ] {
            assert_eq!(parse_time(bad), None, "accepted {bad}");
        }
    }
}
