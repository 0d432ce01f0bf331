//! Which account pays for a workspace and how: the rules R1–R3 (`domain.md` 3.8) and the fall-back (3.11).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::ids::{BillingAccountId, CloudAccountId, SubscriptionId, WorkspaceId};
use tandem_proto::names;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::{SettlementMethod, WorkspaceStanding};
use tandem_proto::vendor::Vendor;

names! {
    /// Why a settlement period began.
    Cause: "bound, changed, fall_back, subscription_replaced, moved";
    /// The workspace was bound.
    Bound = "bound";
    /// The customer changed the method.
    Changed = "changed";
    /// The cloud subscription ended.
    FallBack = "fall_back";
    /// Another subscription of the same cloud account took the ended one's place.
    SubscriptionReplaced = "subscription_replaced";
    /// The workspace was moved here from another billing account.
    Moved = "moved";
}

/// How a workspace is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// By the Billing Center's own balance.
    BillingCenter,
    /// Through a purchase in a cloud's market.
    Cloud {
        /// The cloud.
        vendor: Vendor,
        /// The cloud account.
        cloud_account: CloudAccountId,
        /// The purchase.
        subscription: SubscriptionId,
    },
}

impl Settlement {
    /// The method's name.
    pub fn method(&self) -> SettlementMethod {
        match self {
            Settlement::BillingCenter => SettlementMethod::BillingCenter,
            Settlement::Cloud { vendor, .. } => SettlementMethod::Cloud(*vendor),
        }
    }

    /// The purchase it goes through.
    pub fn subscription(&self) -> Option<&SubscriptionId> {
        match self {
            Settlement::BillingCenter => None,
            Settlement::Cloud { subscription, .. } => Some(subscription),
        }
    }
}

/// A time in which a workspace is settled in one way: `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// Who receives the bills.
    pub billing_account: BillingAccountId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// First instant.
    pub from: Timestamp,
    /// First instant that is no longer part of it; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// How.
    pub settlement: Settlement,
    /// Why it began.
    pub cause: Cause,
}

impl Period {
    /// When a following period starts: now, but never at or before this one's own start, so that periods have length
    /// and order even when the clock stands still.
    pub fn next_start(&self, now: Timestamp) -> Timestamp {
        now.max(self.from + SignedDuration::from_micros(1))
    }
}

/// What the rules have to know to choose a method.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the site allows by default; the Billing Center is always allowed.
    pub site_methods: &'a [SettlementMethod],
    /// Whether an operator allowed the account any method.
    pub any_settlement_allowed: bool,
    /// Whether the workspace may be used.
    pub standing: WorkspaceStanding,
    /// Whether a package of the workspace is running.
    pub has_package: bool,
}

/// R2: whether a workspace may settle by a method.
pub fn allowed(method: SettlementMethod, facts: &Facts<'_>) -> Result<(), Reason> {
    let allowed = method == SettlementMethod::BillingCenter
        || facts.any_settlement_allowed
        || facts.site_methods.contains(&method);
    if allowed { Ok(()) } else { Err(Reason::MethodNotAllowedHere) }
}

/// Whether a customer may change a workspace's method (R3 first, then R1, then R2, then R4; D24).
///
/// `live` says whether the purchase that is used now is live; `changed_month` and `month` are `yyyymm` in the site's
/// zone, fall-backs not counted.
pub fn may_change(
    current: &Settlement,
    live: bool,
    wanted: SettlementMethod,
    facts: &Facts<'_>,
    changed_month: Option<i32>,
    month: i32,
) -> Result<(), Reason> {
    match facts.standing {
        WorkspaceStanding::Active | WorkspaceStanding::LockCountdown => {}
        WorkspaceStanding::Locked => return Err(Reason::WorkspaceLocked),
        WorkspaceStanding::Dissolved => return Err(Reason::WorkspaceDissolved),
    }
    if matches!(current, Settlement::Cloud { .. }) && live {
        return Err(Reason::CloudSubscriptionLive);
    }
    if changed_month == Some(month) {
        return Err(Reason::MethodChangedThisMonth);
    }
    if current.method() == wanted {
        return Err(Reason::MethodUnchanged);
    }
    allowed(wanted, facts)?;
    // R4: a package is paid for by the Billing Center and counts for nothing elsewhere.
    if facts.has_package && wanted != SettlementMethod::BillingCenter {
        return Err(Reason::PackageRunning);
    }
    Ok(())
}

/// How long a change to a cloud may wait for its purchase (D11).
pub const CHANGE_WAITS: SignedDuration = SignedDuration::from_hours(24);

/// A change to a cloud whose purchase is still to be made (`domain.md` 5.3, D11). It changes nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingChange {
    /// Who asked.
    pub billing_account: BillingAccountId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The cloud.
    pub method: SettlementMethod,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// First instant at which it counts no more.
    pub expires_at: Timestamp,
}

names! {
    /// What the end of a vendor's purchase means for its workspaces (D1).
    EndPolicy: "fall_back, lock";
    /// They go on, settled by the Billing Center.
    FallBack = "fall_back";
    /// They go on settled by the Billing Center, and a lock countdown starts.
    Lock = "lock";
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_proto::ids::Id;

    const HERE: [SettlementMethod; 1] = [SettlementMethod::Cloud(Vendor::Alibaba)];

    fn facts(any: bool) -> Facts<'static> {
        Facts {
            site_methods: &HERE,
            any_settlement_allowed: any,
            standing: WorkspaceStanding::Active,
            has_package: false,
        }
    }

    fn cloud() -> Settlement {
        Settlement::Cloud {
            vendor: Vendor::Alibaba,
            cloud_account: CloudAccountId::from_uuid(uuid::Uuid::from_u128(1)),
            subscription: SubscriptionId::from_uuid(uuid::Uuid::from_u128(2)),
        }
    }

    #[test]
    fn a_site_allows_its_own_cloud_and_an_operator_any() {
        assert_eq!(allowed(SettlementMethod::BillingCenter, &facts(false)), Ok(()));
        assert_eq!(allowed(HERE[0], &facts(false)), Ok(()));
        let aws = SettlementMethod::Cloud(Vendor::Aws);
        assert_eq!(allowed(aws, &facts(false)), Err(Reason::MethodNotAllowedHere));
        assert_eq!(allowed(aws, &facts(true)), Ok(()));
    }

    #[test]
    fn a_live_purchase_comes_before_the_month() {
        let change = |live, month| {
            may_change(&cloud(), live, SettlementMethod::BillingCenter, &facts(false), Some(202_603), month)
        };
        assert_eq!(change(true, 202_603), Err(Reason::CloudSubscriptionLive));
        assert_eq!(change(false, 202_603), Err(Reason::MethodChangedThisMonth));
        assert_eq!(change(false, 202_604), Ok(()));
    }

    #[test]
    fn a_package_keeps_a_workspace_at_the_billing_center() {
        let facts = Facts { has_package: true, ..facts(false) };
        let change = |to, month| may_change(&Settlement::BillingCenter, false, to, &facts, month, 202_603);
        assert_eq!(change(HERE[0], None), Err(Reason::PackageRunning));
        // The other rules come first, so that nobody is sent from one refusal to the next.
        assert_eq!(change(HERE[0], Some(202_603)), Err(Reason::MethodChangedThisMonth));
        assert_eq!(change(SettlementMethod::Cloud(Vendor::Aws), None), Err(Reason::MethodNotAllowedHere));
        let back = may_change(&cloud(), false, SettlementMethod::BillingCenter, &facts, None, 202_603);
        assert_eq!(back, Ok(()));
    }

    #[test]
    fn a_following_period_never_starts_before_its_predecessor() {
        let now = Timestamp::UNIX_EPOCH;
        let period = Period {
            billing_account: BillingAccountId::from_uuid(uuid::Uuid::from_u128(1)),
            workspace: WorkspaceId::from_uuid(uuid::Uuid::from_u128(1)),
            from: now,
            to: None,
            settlement: cloud(),
            cause: Cause::Bound,
        };
        assert!(period.next_start(now) > now);
    }
}
