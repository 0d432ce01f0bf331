//! What is counted at the border: what came in, what was refused, what somebody should look at.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use tandem_adapters::delivery::Outcome;
use tandem_service_kit::telemetry::meter;

use crate::markets::Served;

/// The instruments of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    callbacks: Counter<u64>,
    seconds: Histogram<f64>,
    refused: Counter<u64>,
    landings: Counter<u64>,
    alarms: Counter<u64>,
    shed: Counter<u64>,
    vendor_calls: Counter<u64>,
    payment_notices: Counter<u64>,
    payment_refused: Counter<u64>,
    payment_calls: Counter<u64>,
}

impl Meters {
    /// Makes the instruments from the process's meter.
    pub(crate) fn new() -> Meters {
        let meter = meter();
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        let bounds = vec![0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0];
        let seconds = meter.f64_histogram("tandem_gateway_callback_duration").with_unit("s");
        Meters {
            callbacks: counter("tandem_gateway_callbacks", "Callbacks of proved origin, by outcome"),
            seconds: seconds.with_boundaries(bounds).with_description("Time to answer a callback").build(),
            refused: counter("tandem_gateway_refused", "Deliveries whose sender was not proved, by reason"),
            landings: counter("tandem_gateway_landings", "Buyers who arrived, by what they saw"),
            alarms: counter("tandem_gateway_alarms", "What somebody should look at, by kind"),
            shed: counter("tandem_gateway_shed", "Work turned away at a limit, by limit"),
            vendor_calls: counter("tandem_gateway_vendor_calls", "Calls to clouds, by call and outcome"),
            payment_notices: counter(
                "tandem_gateway_payment_notices",
                "Payment notices of proved origin, by outcome",
            ),
            payment_refused: counter(
                "tandem_gateway_payment_refused",
                "Payment notices whose sender was not proved, by reason",
            ),
            payment_calls: counter(
                "tandem_gateway_payment_calls",
                "Calls to payment providers, by call and outcome",
            ),
        }
    }

    /// A callback was answered.
    pub(crate) fn callback(&self, served: &Served, outcome: &Outcome, took: Duration) {
        let labels = labels(served, "outcome", outcome_name(outcome));
        self.callbacks.add(1, &labels);
        self.seconds.record(took.as_secs_f64(), &labels);
    }

    /// A delivery's sender was not proved.
    pub(crate) fn refused(&self, served: &Served, reason: &'static str) {
        self.refused.add(1, &labels(served, "reason", reason));
    }

    /// A buyer was shown a page.
    pub(crate) fn landing(&self, served: &Served, page: &'static str) {
        self.landings.add(1, &labels(served, "page", page));
    }

    /// Somebody should look; the caller writes the log line.
    pub(crate) fn alarm(&self, served: &Served, kind: &'static str) {
        self.alarms.add(1, &labels(served, "kind", kind));
    }

    /// Work was turned away at a limit.
    pub(crate) fn shed(&self, limit: &'static str) {
        self.shed.add(1, &[KeyValue::new("limit", limit)]);
    }

    /// A cloud was called.
    pub(crate) fn vendor_call(&self, served: &Served, call: &'static str, outcome: &'static str) {
        let [vendor, market, outcome] = labels(served, "outcome", outcome);
        self.vendor_calls.add(1, &[vendor, market, KeyValue::new("call", call), outcome]);
    }

    /// A payment notice was answered.
    pub(crate) fn payment_notice(&self, channel: &'static str, outcome: &'static str) {
        self.payment_notices.add(1, &[KeyValue::new("channel", channel), KeyValue::new("outcome", outcome)]);
    }

    /// A payment notice's sender was not proved.
    pub(crate) fn payment_refused(&self, channel: &'static str, reason: &'static str) {
        self.payment_refused.add(1, &[KeyValue::new("channel", channel), KeyValue::new("reason", reason)]);
    }

    /// Somebody should look at a payment provider; the caller writes the log line.
    pub(crate) fn payment_alarm(&self, channel: &'static str, kind: &'static str) {
        self.alarms.add(1, &[KeyValue::new("channel", channel), KeyValue::new("kind", kind)]);
    }

    /// A payment provider was called.
    pub(crate) fn payment_call(&self, channel: &'static str, call: &'static str, outcome: &'static str) {
        let [channel, call] = [KeyValue::new("channel", channel), KeyValue::new("call", call)];
        self.payment_calls.add(1, &[channel, call, KeyValue::new("outcome", outcome)]);
    }
}

/// One word for an outcome.
pub(crate) fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Duplicate => "duplicate",
        Outcome::Pending => "pending",
        Outcome::Parked => "parked",
        Outcome::Refused { .. } => "refused",
        Outcome::Unavailable => "unavailable",
    }
}

fn labels(served: &Served, name: &'static str, value: &'static str) -> [KeyValue; 3] {
    let market = KeyValue::new("market", served.connection.market.name());
    [KeyValue::new("vendor", served.connection.vendor.name()), market, KeyValue::new(name, value)]
}
