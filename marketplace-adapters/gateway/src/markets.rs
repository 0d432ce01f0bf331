//! The markets that are served here, each with room of its own, so that a slow one never blocks another.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_adapters::Connection;
use tandem_adapters::event::Market;
use tandem_proto::vendor::Vendor;
use tokio::sync::Semaphore;

/// Proved deliveries of one market that are with Billing at a time. A vendor repeats what is turned away; 64 calls of a
/// few milliseconds each are far more than a market sends.
const INBOUND_MAX: usize = 64;
/// Calls of Billing for one market at a time: as many as its client lets out.
const OUTBOUND_MAX: usize = tandem_adapters::http::CONCURRENCY_MAX;

/// One market, and the room it has.
pub(crate) struct Served {
    /// Its two halves.
    pub(crate) connection: Connection,
    /// Room for deliveries.
    pub(crate) inbound: Semaphore,
    /// Room for calls.
    pub(crate) outbound: Arc<Semaphore>,
}

/// Every market that is served here.
pub(crate) struct Markets(BTreeMap<(Vendor, Market), Arc<Served>>);

impl Markets {
    /// Takes the markets that were opened.
    pub(crate) fn new(connections: Vec<Connection>) -> Markets {
        let served = |connection: Connection| {
            let key = (connection.vendor, connection.market);
            let (inbound, outbound) = (Semaphore::new(INBOUND_MAX), Arc::new(Semaphore::new(OUTBOUND_MAX)));
            (key, Arc::new(Served { connection, inbound, outbound }))
        };
        Markets(connections.into_iter().map(served).collect())
    }

    /// The market, if it is served here.
    pub(crate) fn get(&self, vendor: Vendor, market: Market) -> Option<&Arc<Served>> {
        self.0.get(&(vendor, market))
    }

    /// The market that a path names. Without a market's name it is the one for mainland China.
    pub(crate) fn at(&self, vendor: &str, market: Option<&str>) -> Option<&Arc<Served>> {
        let market = market.map_or(Some(Market::China), |name| name.parse().ok())?;
        self.get(vendor.parse().ok()?, market)
    }
}
