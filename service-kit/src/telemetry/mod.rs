//! Being seen: log lines, traces and metrics. One per process; the services inside take only what they need.

pub mod trace_context;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::{Encoder as _, TextEncoder};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{LogFormat, TelemetrySection};

/// The scope of our traces and metrics.
const SCOPE: &str = "tandem";
/// Longest time for one export, so that a hanging collector holds nothing up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often metrics are exported.
const EXPORT_EVERY: Duration = Duration::from_secs(15);

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter cannot be read.
    #[error("telemetry.log_filter cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The collector's address cannot be used.
    #[error("telemetry.otlp_endpoint cannot be used")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The registry of `/metrics` could not be made.
    #[error("the metrics registry could not be made")]
    Registry(#[from] opentelemetry_sdk::error::OTelSdkError),
}

/// The process's telemetry; cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: prometheus::Registry,
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
}

/// The one of this process: subscribers and meters are global, so a second start returns the first.
static STARTED: Mutex<Option<Telemetry>> = Mutex::new(None);

impl Telemetry {
    /// Starts telemetry for this process, inside the runtime that has to live until [`Telemetry::shutdown`].
    ///
    /// A second call returns the first one's result, whatever it asks for. Fails when a setting cannot be used.
    pub fn start(section: &TelemetrySection, service_name: &str) -> Result<Telemetry, TelemetryError> {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(telemetry) = started.as_ref() {
            return Ok(telemetry.clone());
        }
        let name = section.service_name.clone().unwrap_or_else(|| service_name.to_owned());
        let resource = Resource::builder().with_service_name(name).build();
        let registry = prometheus::Registry::new();
        let meters = meters(section, &registry, resource.clone())?;
        let tracers = tracers(section, resource)?;
        opentelemetry::global::set_meter_provider(meters.clone());
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

        let logs = EnvFilter::try_new(&section.log_filter)?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match section.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let spans = tracing_opentelemetry::layer().with_tracer(tracers.tracer(SCOPE));
        let spans = spans
            .with_filter(EnvFilter::try_new("info,h2=warn,hyper=warn,tonic=warn,sea_orm=warn,sqlx=warn")?);
        // Somebody else's subscriber, as in a test, stays.
        if tracing_subscriber::registry().with(lines.with_filter(logs)).with(spans).try_init().is_err() {
            tracing::debug!("a subscriber was installed before");
        }
        let telemetry = Telemetry { inner: Arc::new(Inner { registry, meters, tracers }) };
        *started = Some(telemetry.clone());
        Ok(telemetry)
    }

    /// Every metric, in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.inner.registry.gather(), &mut text) {
            tracing::warn!(error = %error, "some metrics could not be written");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends what is still to be sent; call it last, before the runtime ends.
    pub async fn shutdown(&self) {
        let inner = Arc::clone(&self.inner);
        // The exporters wait with their own threads, so this must not block a worker of the runtime.
        let flushed =
            tokio::task::spawn_blocking(move || (inner.tracers.shutdown(), inner.meters.shutdown())).await;
        if let Ok((Err(error), _) | (_, Err(error))) = flushed {
            tracing::debug!(error = %error, "telemetry was not flushed whole");
        }
    }
}

fn meters(
    section: &TelemetrySection,
    registry: &prometheus::Registry,
    resource: Resource,
) -> Result<SdkMeterProvider, TelemetryError> {
    let pull = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
    let mut builder = SdkMeterProvider::builder().with_reader(pull).with_resource(resource);
    if let Some(endpoint) = &section.otlp_endpoint {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        builder = builder.with_reader(PeriodicReader::builder(exporter).with_interval(EXPORT_EVERY).build());
    }
    Ok(builder.build())
}

fn tracers(section: &TelemetrySection, resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &section.otlp_endpoint else {
        // Without a collector spans still carry a trace id from call to call and through the outbox; none is recorded.
        return Ok(builder.with_sampler(Sampler::AlwaysOff).build());
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    Ok(builder
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_batch_exporter(exporter)
        .build())
}

/// The process's meter. Instruments made from it before [`Telemetry::start`] record nothing.
pub fn meter() -> Meter {
    opentelemetry::global::meter(SCOPE)
}

/// The instruments of what this crate does.
#[derive(Debug, Clone)]
pub struct Meters {
    /// Calls answered, by `method` and `code`.
    pub rpc_calls: Counter<u64>,
    /// How long they took, in seconds, by `method` and `code`.
    pub rpc_seconds: Histogram<f64>,
    /// Calls turned away at the limit, by `method`.
    pub rpc_shed: Counter<u64>,
    /// Outgoing messages that wait, by `service`.
    pub outbox_pending: Gauge<u64>,
    /// Outgoing messages that were given up, by `service`.
    pub outbox_quarantined: Gauge<u64>,
    /// Tries to deliver a message, by `topic` and `outcome`.
    pub outbox_tries: Counter<u64>,
}

impl Meters {
    /// Makes the instruments from the process's meter.
    pub fn new() -> Meters {
        let meter = meter();
        let seconds = meter.f64_histogram("tandem_rpc_duration").with_unit("s");
        let bounds = vec![0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Meters {
            rpc_calls: meter.u64_counter("tandem_rpc_calls").with_description("Calls answered").build(),
            rpc_seconds: seconds.with_boundaries(bounds).with_description("Time to answer a call").build(),
            rpc_shed: meter
                .u64_counter("tandem_rpc_shed")
                .with_description("Calls turned away at the limit")
                .build(),
            outbox_pending: meter
                .u64_gauge("tandem_outbox_pending")
                .with_description("Messages that wait")
                .build(),
            outbox_quarantined: meter
                .u64_gauge("tandem_outbox_quarantined")
                .with_description("Messages that were given up")
                .build(),
            outbox_tries: meter
                .u64_counter("tandem_outbox_tries")
                .with_description("Tries to deliver")
                .build(),
        }
    }
}

impl Default for Meters {
    fn default() -> Meters {
        Meters::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_start_is_harmless_and_metrics_are_shown() {
        let section = TelemetrySection { log_filter: "off".to_owned(), ..TelemetrySection::default() };
        let telemetry = Telemetry::start(&section, "one").unwrap();
        let again = Telemetry::start(&section, "two").unwrap();
        Meters::new().rpc_shed.add(3, &[opentelemetry::KeyValue::new("method", "/x/Y")]);
        for telemetry in [telemetry, again] {
            let text = telemetry.metrics_text();
            assert!(text.contains("tandem_rpc_shed_total{method=\"/x/Y\""), "{text}");
        }
    }
}
