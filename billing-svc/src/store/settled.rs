//! Who was charged for workspaces at an instant (D8: the method at a day's close decides).

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::ids::{CloudAccountId, SubscriptionId};
use tandem_proto::settlement::{Market, SettlementMethod};
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::StoreError;

use super::read::{self, Row, micros};
use super::usage::{Place, place, places_relation};
use crate::domain::subscription::{State, Subscription};

/// A purchase that bills may be settled through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudRoute {
    /// The cloud account.
    pub cloud_account: CloudAccountId,
    /// The purchase.
    pub subscription: SubscriptionId,
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// The purchase's number there.
    pub vendor_instance_id: String,
    /// The buyer's number there.
    pub vendor_account_id: String,
    /// The vendor's product code.
    pub product_code: String,
    /// Where the purchase stands now.
    pub state: State,
    /// Trials are never metered.
    pub trial: bool,
}

impl CloudRoute {
    /// The route through a bound purchase; `None` when it is not bound.
    pub fn through(subscription: &Subscription) -> Option<CloudRoute> {
        Some(CloudRoute {
            cloud_account: subscription.owner.as_ref()?.cloud_account.clone(),
            subscription: subscription.id.clone(),
            vendor: subscription.vendor,
            market: subscription.market,
            vendor_instance_id: subscription.vendor_instance_id.clone(),
            vendor_account_id: subscription.vendor_account_id.clone()?,
            product_code: subscription.product_code.clone(),
            state: subscription.state,
            trial: subscription.trial,
        })
    }
}

/// Who was charged for each workspace just before an instant; `None` is the Billing Center.
///
/// A workspace that was not bound yet is charged as it was first bound.
pub async fn before(
    db: &impl ConnectionTrait,
    places: &[Place],
    instant: Timestamp,
) -> Result<HashMap<Place, Option<CloudRoute>>, StoreError> {
    let rel = places_relation(places).relation(db.get_database_backend(), "r", 1)?;
    // The last period that began before the instant, else the first of all.
    let text = format!(
        "SELECT b.billing_account_id, b.workspace_id, b.settlement_method, b.cloud_account_id, b.subscription_id, s.market, \
         s.vendor_instance_id, s.vendor_account_id, s.product_code, s.state, s.trial FROM {} \
         JOIN workspace_binding b ON b.billing_account_id = r.billing_account_id AND b.workspace_id = r.workspace_id \
         LEFT JOIN subscription s ON s.id = b.subscription_id \
         WHERE b.effective_from = COALESCE(\
            (SELECT MAX(p.effective_from) FROM workspace_binding p WHERE p.billing_account_id = b.billing_account_id \
             AND p.workspace_id = b.workspace_id AND p.effective_from < ?), \
            (SELECT MIN(q.effective_from) FROM workspace_binding q WHERE q.billing_account_id = b.billing_account_id \
             AND q.workspace_id = b.workspace_id))",
        rel.sql
    );
    let mut found = HashMap::new();
    for row in read::all(db, &text, rel.values.into_iter().chain([micros(instant)])).await? {
        let place = place(&row, "workspace_binding")?;
        let row = Row(&row, "workspace_binding");
        let route = match row.parse("settlement_method")? {
            SettlementMethod::BillingCenter => None,
            SettlementMethod::Cloud(vendor) => Some(CloudRoute {
                cloud_account: row.parse("cloud_account_id")?,
                subscription: row.parse("subscription_id")?,
                vendor,
                market: row.parse("market")?,
                vendor_instance_id: row.text("vendor_instance_id")?,
                vendor_account_id: row.text("vendor_account_id")?,
                product_code: row.text("product_code")?,
                state: row.parse("state")?,
                trial: row.truth("trial")?,
            }),
        };
        found.insert(place, route);
    }
    Ok(found)
}
