//! Calls to the vendor's own interface (`vendors/alibaba.md` 7): look-ups, and usage handed over at most once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::Value;
use tracing::{error, warn};

use super::answer::{DENIED, Said, Sorted, id_of, judge, sort, state_of};
use super::config::{Config, SignatureKind};
use super::metering::{self, Decision, Entity, Facts, InstanceState, Record, Rule};
use super::signature::{Acs3Call, Pairs, encode, encode_pairs, rpc_signature, sha256_hex};
use crate::error::{ClientError, ConfigError};
use crate::http::{HttpClient, Idempotency, Request, Target};
use crate::usage::{Purchase, RecordedUsage, SubmitOutcome, SubmittedRecord, UsageRecord};
use crate::{MarketplaceClient, Surroundings};

/// The version of the interface.
const VERSION: &str = "2015-11-01";
/// Longest encoded `Metering` parameter: it travels in the query, and servers refuse queries beyond some 8 KiB.
const METERING_BYTES_MAX: usize = 6 * 1024;
/// The outbound half.
pub struct Client {
    config: Arc<Config>,
    http: HttpClient,
    surroundings: Surroundings,
    /// When each instance was last pushed to; forgotten after the vendor's spacing. A second process does not see it:
    /// then the vendor's own throttle answers, and nothing is lost.
    last_push: Mutex<HashMap<String, Timestamp>>,
}

/// One request: records of one instance of one product, and where they stood in the caller's list.
///
/// Not more instances in one request, though the vendor would take them: its spacing is by instance, and an error that
/// names no instance could then belong to any of them.
struct Batch {
    facts: Facts,
    positions: Vec<usize>,
    records: Vec<Record>,
}

/// Puts a record where it belongs; answers at once when it cannot go with this call.
fn add_to_batch(batches: &mut Vec<Batch>, position: usize, record: Record, facts: Facts) -> Option<Said> {
    let same = |batch: &&mut Batch| {
        let first = batch.records.first();
        first.is_some_and(|f| f.instance_id == record.instance_id && f.product_code == record.product_code)
    };
    let Some(batch) = batches.iter_mut().find(same) else {
        batches.push(Batch { facts, positions: vec![position], records: vec![record] });
        return None;
    };
    let now = batch.facts.now;
    batch.records.push(record);
    let overlaps = metering::first_overlap(&batch.records).is_some();
    let too_big = batch.records.len() > metering::RECORDS_PER_CALL_MAX
        || encoded_bytes(&batch.records) > METERING_BYTES_MAX;
    if overlaps || too_big {
        batch.records.pop();
        let next = now.saturating_add(metering::SPACING).unwrap_or(now);
        return Some(if overlaps {
            Said::rule(SubmitOutcome::Refused, Rule::OverlappingSpan.name())
        } else {
            Said::rule(SubmitOutcome::RetryLater(next), "request_full")
        });
    }
    batch.positions.push(position);
    None
}

impl Client {
    /// Builds the client. Fails when the address is not allowed.
    pub fn new(config: Arc<Config>, surroundings: Surroundings) -> Result<Self, ConfigError> {
        let http = HttpClient::new(&Target {
            base_url: config.settings.base_url.clone(),
            allow_insecure: config.settings.allow_insecure,
            timeout: config.settings.timeout(),
        })?;
        Ok(Self { config, http, surroundings, last_push: Mutex::default() })
    }

    /// Makes and signs a request; called for every try, because date and number are used once.
    fn request(&self, action: &str, parameters: &Pairs) -> Request {
        let nonce = (self.surroundings.fresh)();
        let date = (self.surroundings.now)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (key_id, secret) =
            (self.config.access_key_id.expose_secret(), self.config.access_key_secret.expose_secret());
        match self.config.settings.signature {
            SignatureKind::Acs3 => {
                let headers: Pairs = [
                    ("host", self.http.host()),
                    ("x-acs-action", action.to_owned()),
                    ("x-acs-version", VERSION.to_owned()),
                    ("x-acs-date", date.clone()),
                    ("x-acs-signature-nonce", nonce.simple().to_string()),
                    ("x-acs-content-sha256", sha256_hex(b"")),
                ]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
                let call =
                    Acs3Call { method: "POST", path: "/", query: parameters, headers: &headers, body: b"" };
                Request {
                    method: http::Method::POST,
                    query: encode_pairs(parameters),
                    headers: vec![
                        ("authorization", call.authorization(key_id, secret)),
                        ("x-acs-action", action.to_owned()),
                        ("x-acs-version", VERSION.to_owned()),
                        ("x-acs-date", date),
                        ("x-acs-signature-nonce", nonce.simple().to_string()),
                        ("x-acs-content-sha256", sha256_hex(b"")),
                        ("accept", "application/json".to_owned()),
                    ],
                    body: String::new(),
                }
            }
            SignatureKind::Rpc => {
                let mut pairs = parameters.clone();
                for (name, value) in [
                    ("AccessKeyId", key_id),
                    ("Action", action),
                    ("Format", "JSON"),
                    ("SignatureMethod", "HMAC-SHA1"),
                    ("SignatureNonce", &nonce.to_string()),
                    ("SignatureVersion", "1.0"),
                    ("Timestamp", &date),
                    ("Version", VERSION),
                ] {
                    pairs.insert(name.to_owned(), value.to_owned());
                }
                pairs.insert("Signature".to_owned(), rpc_signature("POST", &pairs, secret));
                Request {
                    method: http::Method::POST,
                    query: String::new(),
                    headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
                    body: encode_pairs(&pairs),
                }
            }
        }
    }

    /// Asks something that only reads. `Ok(None)`: the vendor says there is no such thing of ours.
    async fn ask(&self, action: &'static str, name: &str, id: &str) -> Result<Option<Value>, ClientError> {
        let parameters: Pairs = [(name.to_owned(), id.to_owned())].into();
        let answer = self.http.send(Idempotency::Idempotent, || self.request(action, &parameters)).await;
        let answer = answer.map_err(|e| ClientError::Unavailable { code: e.label().to_owned() })?;
        let Some(sorted) = sort(&answer) else {
            return Err(if answer.status.is_server_error() {
                ClientError::Unavailable { code: format!("http_{}", answer.status.as_u16()) }
            } else {
                ClientError::Unclear { what: action }
            });
        };
        match sorted {
            Sorted::Yes(value) => Ok(Some(value)),
            Sorted::No(said) if said.is(&DENIED) => {
                error!(vendor.code = %said.code, "the vendor refuses our credentials for {action}");
                Err(ClientError::Denied { code: said.code })
            }
            // 400 says "not verifiable"; 500 says nothing, not even that the id is wrong (7.1).
            Sorted::No(said) if said.status == 400 && !said.is(&["Throttling", "Service.Flow"]) => Ok(None),
            Sorted::No(said) => Err(ClientError::Unavailable { code: said.code }),
        }
    }

    fn pushed(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        // The map is whole at every moment; a panic elsewhere does not spoil it.
        self.last_push.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the next request for an instance; `Err` says why it is not sent now.
    fn claim(&self, batch: &Batch) -> Result<(), Said> {
        let Some(first) = batch.records.first() else { return Ok(()) };
        let now = batch.facts.now;
        let mut pushed = self.pushed();
        pushed.retain(|_, at| now.duration_since(*at) < metering::SPACING);
        let facts = Facts { last_push: pushed.get(&first.instance_id).copied(), ..batch.facts.clone() };
        match metering::decide(&batch.records, &facts) {
            Decision::Send => {
                pushed.insert(first.instance_id.clone(), now);
                Ok(())
            }
            Decision::Delay(at) => {
                Err(Said::rule(SubmitOutcome::RetryLater(at), Rule::OneRequestPer60Seconds.name()))
            }
            Decision::Refuse(rule) | Decision::Split(rule) => {
                Err(Said::rule(SubmitOutcome::Refused, rule.name()))
            }
        }
    }

    /// Turns a record into what is sent, and checks it by itself.
    fn prepare(&self, record: &UsageRecord, now: Timestamp) -> Result<(Record, Facts), Said> {
        let refused = |rule| Err(Said::rule(SubmitOutcome::Refused, rule));
        let Some(product) = self.config.settings.products.get(&record.product_code) else {
            return refused("product_not_configured");
        };
        let Some(item) = product.metering.get(&record.dimension) else {
            return refused("dimension_not_configured");
        };
        if !super::ids::is_instance(&record.vendor_instance_id) {
            return refused("instance_id_malformed");
        }
        if record.start.subsec_nanosecond() != 0 || record.end.subsec_nanosecond() != 0 {
            return refused("time_not_in_whole_seconds");
        }
        let sent = Record {
            product_code: record.product_code.clone(),
            instance_id: record.vendor_instance_id.clone(),
            start: record.start.as_second(),
            end: record.end.as_second(),
            entities: vec![Entity {
                key: record.dimension.clone(),
                value: record.quantity.to_string(),
                metering_assit: Some(item.id.clone()),
            }],
        };
        // Where the instance stands is known to the caller only; it does not hand over what must not be sent.
        let facts =
            Facts { now, cycle: product.billing_cycle, instance: InstanceState::Open, last_push: None };
        match metering::check(&sent, &facts) {
            Ok(()) => Ok((sent, facts)),
            Err(rule @ Rule::BillingWindowClosed) => Err(Said::rule(SubmitOutcome::Expired, rule.name())),
            Err(rule) => refused(rule.name()),
        }
    }

    /// Sends one instance's records in one request, once.
    async fn push(&self, request_id: &str, records: &[Record]) -> Said {
        let Ok(text) = serde_json::to_string(records) else {
            return Said::rule(SubmitOutcome::Refused, "not_representable");
        };
        let parameters: Pairs = [("Metering".to_owned(), text)].into();
        let answer =
            self.http.send(Idempotency::OnceOnly, || self.request("PushMeteringData", &parameters)).await;
        let said = judge(&answer, (self.surroundings.now)());
        let code = &said.code;
        match said.outcome {
            SubmitOutcome::Accepted | SubmitOutcome::RetryLater(_) => {}
            SubmitOutcome::Unknown => error!(
                request.id = request_id,
                vendor.code = %code,
                "it is not known whether usage of {request_id} was taken; compare with the vendor's bill"
            ),
            _ => {
                warn!(request.id = request_id, vendor.code = %code, "the vendor did not take usage of {request_id}")
            }
        }
        said
    }
}

#[async_trait]
impl MarketplaceClient for Client {
    async fn look_up_purchase(
        &self,
        instance_id: &str,
        _account_id: &str,
    ) -> Result<Option<Purchase>, ClientError> {
        let Some(instance) = self.ask("DescribeInstanceForIsv", "InstanceId", instance_id).await? else {
            return Ok(None);
        };
        let unclear = |what| ClientError::Unclear { what };
        if id_of(instance.get("InstanceId")).as_deref() != Some(instance_id) {
            return Err(unclear("InstanceId"));
        }
        let order_id = id_of(instance.get("OrderId")).ok_or(unclear("OrderId"))?;
        let Some(order) = self.ask("DescribeOrderForIsv", "OrderId", &order_id).await? else {
            return Ok(None);
        };
        let instances = order.get("InstanceIds").and_then(Value::as_array).ok_or(unclear("InstanceIds"))?;
        if !instances.iter().any(|id| id_of(Some(id)).as_deref() == Some(instance_id)) {
            return Ok(None);
        }
        let product_code =
            instance.get("ProductCode").and_then(Value::as_str).ok_or(unclear("ProductCode"))?.to_owned();
        let end = instance
            .get("EndOn")
            .filter(|v| !v.is_null())
            .map(|v| id_of(Some(v)).and_then(|t| t.parse().ok()));
        let expires_at = match end {
            None => None,
            Some(millis) => {
                let millis = millis.ok_or(unclear("EndOn"))?;
                Some(Timestamp::from_millisecond(millis).map_err(|_| unclear("EndOn"))?)
            }
        };
        Ok(Some(Purchase {
            vendor_instance_id: instance_id.to_owned(),
            vendor_account_id: id_of(order.get("AliUid")).ok_or(unclear("AliUid"))?,
            vendor_order_id: order_id,
            product_is_ours: self.config.settings.products.contains_key(&product_code),
            product_code,
            state: state_of(&instance, &order).ok_or(unclear("Status"))?,
            expires_at,
        }))
    }

    async fn submit_usage(&self, request_id: &str, records: &[UsageRecord]) -> Vec<SubmittedRecord> {
        let now = (self.surroundings.now)();
        let mut answers: Vec<Option<Said>> = Vec::with_capacity(records.len());
        let mut batches: Vec<Batch> = Vec::new();
        for (position, record) in records.iter().enumerate() {
            answers.push(match self.prepare(record, now) {
                Err(said) => Some(said),
                Ok((sent, facts)) => add_to_batch(&mut batches, position, sent, facts),
            });
        }
        let pushes = batches.into_iter().map(|batch| async move {
            let said = match self.claim(&batch) {
                Ok(()) => self.push(request_id, &batch.records).await,
                Err(said) => said,
            };
            (batch.positions, said)
        });
        for (positions, said) in join_all(pushes).await {
            for position in positions {
                if let Some(answer) = answers.get_mut(position) {
                    *answer = Some(said.clone());
                }
            }
        }
        let lost = || Said::rule(SubmitOutcome::Unknown, "lost");
        let said = answers.into_iter().map(|answer| answer.unwrap_or_else(lost));
        said.zip(records).map(|(said, record)| said.about(record)).collect()
    }

    async fn get_submitted_usage(
        &self,
        _instance_id: &str,
        _start: Timestamp,
        _end: Timestamp,
    ) -> Result<Option<Vec<RecordedUsage>>, ClientError> {
        // The China site has no such call (`vendors/alibaba.md` 8, the other site has).
        Ok(None)
    }
}

fn encoded_bytes(records: &[Record]) -> usize {
    serde_json::to_string(records).map_or(usize::MAX, |text| encode(&text).len())
}
