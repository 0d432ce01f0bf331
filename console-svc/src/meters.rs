//! What the Console counts of its own work.

use opentelemetry::metrics::Counter;
use tandem_service_kit::telemetry::meter;

/// The instruments; cheap to clone.
#[derive(Debug, Clone)]
pub struct Meters {
    /// Usage points, by `outcome`.
    pub points: Counter<u64>,
    /// Daily quantities told to Billing, by `outcome`: taken, or Billing's reason.
    pub delivered: Counter<u64>,
    /// Days closed, by `site`.
    pub days_closed: Counter<u64>,
    /// Tries of activations and upgrades at Billing, by `outcome`.
    pub activations: Counter<u64>,
}

impl Meters {
    /// Makes the instruments from the process's meter.
    pub fn new() -> Meters {
        let meter = meter();
        let counter =
            |name: &'static str, what: &'static str| meter.u64_counter(name).with_description(what).build();
        Meters {
            points: counter("tandem_usage_points", "Usage points"),
            delivered: counter("tandem_usage_delivered", "Daily quantities told to Billing"),
            days_closed: counter("tandem_usage_days_closed", "Usage days closed"),
            activations: counter("tandem_activations", "Tries of activations at Billing"),
        }
    }
}

impl Default for Meters {
    fn default() -> Meters {
        Meters::new()
    }
}
