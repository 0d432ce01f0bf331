//! What an on-call person has to look at, as a number beside the log line.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

/// Made at the first alarm, when telemetry has been started.
static ALARMS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = opentelemetry::global::meter("tandem");
    meter.u64_counter("tandem_billing_alarms").with_description("What somebody has to look at").build()
});

/// Counts an alarm of a kind. The log line with the facts is the caller's.
pub(crate) fn raise(kind: &'static str) {
    ALARMS.add(1, &[KeyValue::new("kind", kind)]);
}
