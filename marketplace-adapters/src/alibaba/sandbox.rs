//! The vendor's side of the wire, for the sandbox (`vendors/alibaba.md` 5 and 7): checks what the real one checks and
//! answers with its words.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::callback;
use super::metering::{self, Entity, Facts, InstanceState, Record, Rule};
use super::signature::{ACS3, Acs3Call, DATE_WINDOW, Pairs, Receiver, Refusal, sha256_hex};
use crate::callback::{CallbackAction, CallbackError, CallbackFields, SignedCallback};
use crate::error::ConfigError;
use crate::sandbox::state::{Product, RememberedUsage, SandboxPurchase, State, Status};
use crate::sandbox::{Acknowledgement, ApiAnswer, ApiCall, Dialect, SandboxConfig};

const VERSION: &str = "2015-11-01";
const HOST: &str = "market.aliyuncs.com";

/// What an adapter's settings put on sale.
pub(crate) fn products(settings: &Value) -> Result<BTreeMap<String, Product>, ConfigError> {
    let settings: super::config::Settings =
        serde_json::from_value(settings.clone()).map_err(|error| ConfigError::Settings(error.to_string()))?;
    let product = |product: super::config::Product| Product {
        plans: product.plans.into_keys().collect(),
        items: product.metering.into_iter().map(|(key, item)| (key, item.id)).collect(),
        cycle: product.billing_cycle,
    };
    Ok(settings.products.into_iter().map(|(code, sold)| (code, product(sold))).collect())
}

/// Makes the vendor's side.
pub(crate) fn dialect(config: &SandboxConfig) -> Result<Box<dyn Dialect>, ConfigError> {
    let secret =
        |name: &'static str| config.secrets.get(name).cloned().ok_or(ConfigError::MissingSecret(name));
    Ok(Box::new(Vendor {
        isv_key: secret("isv_key")?,
        access_key_id: secret("access_key_id")?,
        access_key_secret: secret("access_key_secret")?,
        products: config.products.clone(),
    }))
}

struct Vendor {
    isv_key: SecretString,
    access_key_id: SecretString,
    access_key_secret: SecretString,
    products: BTreeMap<String, Product>,
}

/// An error: status and code.
type Refused = (u16, &'static str);

/// A record as it arrives: numbers may come as text or as numbers.
#[derive(Deserialize)]
struct Incoming {
    #[serde(rename = "InstanceId")]
    instance_id: Value,
    #[serde(rename = "StartTime")]
    start: Value,
    #[serde(rename = "EndTime")]
    end: Value,
    #[serde(rename = "Entities")]
    entities: Vec<IncomingEntity>,
}

#[derive(Deserialize)]
struct IncomingEntity {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Value")]
    value: Value,
    #[serde(rename = "meteringAssit")]
    metering_assit: Option<String>,
}

fn decode(query: &str) -> Option<Pairs> {
    let text =
        |raw: &str| percent_decode_str(&raw.replace('+', " ")).decode_utf8().ok().map(|t| t.into_owned());
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').and_then(|(n, v)| Some((text(n)?, text(v)?)))).collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Ids in answers are numbers.
fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

impl Vendor {
    /// Query and form together, the parameters of a call.
    fn parameters(call: &ApiCall) -> Option<Pairs> {
        let mut pairs = decode(&call.query)?;
        let kind = call.headers.get("content-type").map(String::as_str).unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            pairs.extend(decode(std::str::from_utf8(&call.body).ok()?)?);
        }
        Some(pairs)
    }

    fn check_proof(
        &self,
        state: &mut State,
        call: &ApiCall,
        pairs: &Pairs,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let horizon = now.saturating_sub(DATE_WINDOW * 2).unwrap_or(now);
        state.nonces.retain(|_, at| *at > horizon);
        let seen = |nonce: &str| state.nonces.contains_key(nonce);
        let receiver = Receiver {
            access_key_id: self.access_key_id.expose_secret(),
            secret: self.access_key_secret.expose_secret(),
            now,
            nonce_seen: &seen,
        };
        let acs3 = call.headers.get("authorization").is_some_and(|text| text.starts_with(ACS3));
        let nonce = if acs3 {
            let query = decode(&call.query).ok_or(Refusal::Incomplete)?;
            receiver.check_acs3(&Acs3Call {
                method: &call.method,
                path: &call.path,
                query: &query,
                headers: &call.headers,
                body: &call.body,
            })?
        } else {
            receiver.check_rpc(&call.method, pairs)?
        };
        state.nonces.insert(nonce, now);
        Ok(())
    }

    fn describe_instance(&self, state: &State, pairs: &Pairs) -> Result<Value, Refused> {
        let purchase = self.own(state, pairs.get("InstanceId").ok_or((400, "Invalid.Parameter"))?)?;
        let order = purchase.orders.first().map(|order| order.order_id.as_str()).unwrap_or_default();
        let millis = |at: Timestamp| at.as_millisecond();
        Ok(json!({
            "InstanceId": number(&purchase.instance_id),
            "OrderId": number(order),
            "ProductCode": purchase.product_code,
            "ProductSkuCode": purchase.plan,
            "ProductName": "Sandbox product",
            "ProductType": "APP",
            "Status": match purchase.status {
                Status::Preparing => "OPENING",
                Status::Open => "OPENED",
                Status::Frozen => "EXPIRED",
                Status::Closed => "CLOSED",
            },
            "IsTrial": purchase.trial,
            "CreatedOn": millis(purchase.bought_at),
            "BeganOn": millis(purchase.bought_at),
            "EndOn": purchase.expires_at.map(millis),
            "AutoRenewal": "false",
        }))
    }

    fn describe_order(&self, state: &State, pairs: &Pairs) -> Result<Value, Refused> {
        let order_id = pairs.get("OrderId").ok_or((400, "Invalid.Parameter"))?;
        let (purchase, order) =
            state.order(order_id).filter(|(p, _)| !p.other_seller).ok_or((400, "IllegalPermission"))?;
        Ok(json!({
            "AliUid": number(&purchase.account_id),
            "OrderId": number(&order.order_id),
            "InstanceIds": [purchase.instance_id],
            "OrderStatus": if order.refunded { "REFUND" } else { "NORMAL" },
            "OrderType": order.kind,
            "PayStatus": "PAID",
            "ProductCode": purchase.product_code,
            "ProductSkuCode": purchase.plan,
            "ProductName": "Sandbox product",
            "CreatedOn": order.paid_at.as_millisecond(),
            "PaidOn": order.paid_at.as_millisecond(),
        }))
    }

    fn own<'s>(&self, state: &'s State, instance: &str) -> Result<&'s SandboxPurchase, Refused> {
        // A foreign instance and one that does not exist look alike.
        state.purchases.get(instance).filter(|p| !p.other_seller).ok_or((400, "IllegalPermission"))
    }

    fn push(
        &self,
        state: &mut State,
        pairs: &Pairs,
        reference: &str,
        now: Timestamp,
    ) -> Result<Value, Refused> {
        let text = pairs.get("Metering").ok_or((400, "Invalid.Parameter"))?;
        let incoming: Vec<Incoming> = serde_json::from_str(text).map_err(|_| (400, "Invalid.Parameter"))?;
        if incoming.is_empty() {
            return Err((400, "Invalid.Parameter"));
        }
        if incoming.len() > metering::RECORDS_PER_CALL_MAX {
            return Err((500, "Metering.Data.Exceeded"));
        }
        let mut taken = Vec::new();
        for record in incoming {
            let (record, billed) = self.take(state, record, now)?;
            taken.push((record, billed));
        }
        if taken.windows(2).any(|two| two[0].0.product_code != two[1].0.product_code) {
            return Err((400, "Invalid.Parameter.Metering"));
        }
        let horizon = now.saturating_sub(metering::SPACING).unwrap_or(now);
        state.last_push.retain(|_, at| *at > horizon);
        if taken.iter().any(|(record, _)| state.last_push.contains_key(&record.instance_id)) {
            return Err((500, "Service.Flow.Control"));
        }
        for (record, billed) in taken {
            state.last_push.insert(record.instance_id.clone(), now);
            for entity in &record.entities {
                let unreadable = (400, "Invalid.Parameter.Metering");
                state.usage.push(RememberedUsage {
                    instance_id: record.instance_id.clone(),
                    product_code: record.product_code.clone(),
                    dimension: entity.key.clone(),
                    start: Timestamp::from_second(record.start).map_err(|_| unreadable)?,
                    end: Timestamp::from_second(record.end).map_err(|_| unreadable)?,
                    quantity: entity.value.parse().map_err(|_| unreadable)?,
                    taken_at: now,
                    reference: reference.to_owned(),
                    billed,
                });
            }
        }
        Ok(json!({"Success": true}))
    }

    /// Checks one record as the vendor does; also says whether the buyer is billed for it.
    fn take(&self, state: &State, incoming: Incoming, now: Timestamp) -> Result<(Record, bool), Refused> {
        let shape = (400, "Invalid.Parameter");
        let instance_id = plain(&incoming.instance_id).ok_or(shape)?;
        let purchase = self.own(state, &instance_id).map_err(|_| (500, "Invalid.Parameter.Instance"))?;
        let seconds = |value: &Value| plain(value).and_then(|text| text.parse::<i64>().ok()).ok_or(shape);
        let mut entities = Vec::new();
        for entity in incoming.entities {
            let value = plain(&entity.value).ok_or(shape)?;
            entities.push(Entity { key: entity.key, value, metering_assit: entity.metering_assit });
        }
        let record = Record {
            product_code: purchase.product_code.clone(),
            instance_id,
            start: seconds(&incoming.start)?,
            end: seconds(&incoming.end)?,
            entities,
        };
        let content = (400, "Invalid.Parameter.Metering");
        let product = self.products.get(&purchase.product_code).ok_or((500, "Permission.Denied"))?;
        let listed =
            |e: &Entity| e.metering_assit.is_some() && product.items.get(&e.key) == e.metering_assit.as_ref();
        if !record.entities.iter().all(listed) {
            return Err(content);
        }
        let instance = match (purchase.status, purchase.stopped_at) {
            (Status::Preparing, _) | (Status::Closed, None) => InstanceState::Released,
            (Status::Closed, Some(at)) => InstanceState::ReleasedAt(at),
            (Status::Frozen, Some(at)) => InstanceState::ExpiredAt(at),
            (Status::Open | Status::Frozen, _) => InstanceState::Open,
        };
        let facts = Facts { now, cycle: product.cycle, instance, last_push: None };
        match metering::check(&record, &facts) {
            Ok(()) => Ok((record, !purchase.trial)),
            Err(Rule::NotBillableAfterExpiry) => Ok((record, false)),
            Err(Rule::InstanceReleased) => Err((500, "Invalid.Parameter.Instance")),
            Err(Rule::MillisecondsInsteadOfSeconds | Rule::EndNotAfterStart) => Err(shape),
            Err(_) => Err(content),
        }
    }
}

impl Dialect for Vendor {
    fn action(&self, call: &ApiCall) -> String {
        let named = call.headers.get("x-acs-action").cloned();
        named.or_else(|| Self::parameters(call)?.remove("Action")).unwrap_or_default()
    }

    fn answer(&self, state: &mut State, call: &ApiCall, now: Timestamp) -> ApiAnswer {
        let Some(pairs) = Self::parameters(call) else { return self.error(400, "Invalid.Parameter") };
        if let Err(refusal) = self.check_proof(state, call, &pairs, now) {
            let (status, code) = refusal.code();
            return self.error(status, code);
        }
        let version = call.headers.get("x-acs-version").or_else(|| pairs.get("Version"));
        if version.map(String::as_str) != Some(VERSION) {
            return self.error(400, "InvalidVersion");
        }
        let reference = self.message_id(state.next_number());
        let result = match self.action(call).as_str() {
            "DescribeInstanceForIsv" => self.describe_instance(state, &pairs),
            "DescribeOrderForIsv" => self.describe_order(state, &pairs),
            "PushMeteringData" => self.push(state, &pairs, &reference, now),
            _ => Err((404, "InvalidAction.NotFound")),
        };
        match result {
            Ok(mut value) => {
                value["RequestId"] = Value::from(reference);
                ApiAnswer { status: StatusCode::OK, body: value.to_string() }
            }
            Err((status, code)) => self.error(status, code),
        }
    }

    fn error(&self, status: u16, code: &str) -> ApiAnswer {
        let body =
            json!({"RequestId": sha256_hex(code.as_bytes()), "HostId": HOST, "Code": code, "Message": code});
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        ApiAnswer { status, body: body.to_string() }
    }

    fn doubt(&self) -> ApiAnswer {
        ApiAnswer { status: StatusCode::OK, body: json!({"Success": false}).to_string() }
    }

    fn sign(&self, action: CallbackAction, fields: &CallbackFields) -> Result<SignedCallback, CallbackError> {
        callback::sign_callback(&self.isv_key, action, fields)
    }

    fn read(&self, action: CallbackAction, status: u16, body: &[u8]) -> Option<Acknowledgement> {
        if status != 200 {
            return None;
        }
        let value: Value = serde_json::from_slice(body).ok()?;
        if action == CallbackAction::Create {
            let instance = value.get("instanceId")?.as_str()?;
            let landing_url = value.pointer("/appInfo/authUrl").and_then(Value::as_str).map(str::to_owned);
            return (!instance.is_empty() && instance != "0").then_some(Acknowledgement { landing_url });
        }
        let success = value.get("success")?;
        let yes = success.as_bool() == Some(true) || success.as_str() == Some("true");
        yes.then_some(Acknowledgement { landing_url: None })
    }

    fn instance_id(&self, number: u64) -> String {
        1_551_000_000_u64.saturating_add(number).to_string()
    }

    fn order_id(&self, number: u64) -> String {
        204_211_000_000_000_u64.saturating_add(number).to_string()
    }

    fn message_id(&self, number: u64) -> String {
        let mut text = sha256_hex(number.to_string().as_bytes());
        text.truncate(32);
        text
    }

    fn other_product(&self) -> (&'static str, &'static str) {
        ("cmgj00077001", "cmgj00077001-postpay")
    }
}
