//! Starts settling a workspace through a billing account: all or nothing (`domain.md` 3.1–3.6, 5.3).

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::language::Language;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::{BillingRegion, PriceZone, SettlementMethod, WorkspaceStanding};
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::verification;

use super::attach_purchase::{self, Claim};
use super::create_account::{self, NewAccount};
use super::package_hold;
use super::send_code;
use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::binding::{self as rules, Cause, Facts, Period, Settlement};
use crate::domain::standing::Standing;
use crate::store::workspace::{self, Workspace};
use crate::store::{account, binding};

/// What the Console knows of a workspace.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The workspace.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// The site's code.
    pub site: String,
    /// The zone whose midnight ends a usage day.
    pub time_zone: String,
    /// Which prices apply.
    pub price_zone: PriceZone,
    /// Which Billing Center the site belongs to.
    pub billing_region: BillingRegion,
    /// What the site allows to settle with by default.
    pub default_methods: Vec<SettlementMethod>,
    /// The language of mails about it.
    pub language: Language,
    /// The owner's address.
    pub owner_email: String,
    /// Grows with each change in the Console.
    pub revision: i64,
}

/// Who pays.
pub enum Payer {
    /// An account to be made.
    New(Box<NewAccount>),
    /// An existing account, and the code that proves it.
    Proved {
        /// The account.
        account: BillingAccountId,
        /// The six digits.
        code: String,
    },
}

/// What is to be bound to whom, and how it is settled.
pub struct Wish {
    /// The workspace.
    pub profile: Profile,
    /// Who pays.
    pub payer: Payer,
    /// The method.
    pub method: SettlementMethod,
    /// The purchase, for a cloud.
    pub claim: Option<Claim>,
}

/// What was bound.
#[derive(Debug)]
pub struct Bound {
    /// The workspace.
    pub workspace: Workspace,
    /// How it is settled.
    pub period: Period,
    /// Who pays.
    pub account: BillingAccount,
    /// The purchase that became known only by this, so that events may wait for it.
    pub newly_known: Option<crate::domain::subscription::Subscription>,
}

/// Finds the account that a caller wants to prove, and counts a wrong code whatever happens afterwards.
///
/// Fails with `CODE_INVALID`, also when there is no such account, and with `REGION_MISMATCH` for an account of the
/// other Billing Center.
pub async fn prove(
    ctx: &Context,
    region: BillingRegion,
    username: &str,
    code: &str,
    now: Timestamp,
) -> Result<BillingAccount, Fault> {
    let mut found = account::find_by_username(&ctx.db.read, region, username).await?;
    for other in BillingRegion::ALL.iter().filter(|other| **other != region) {
        if found.is_none() {
            found = account::find_by_username(&ctx.db.read, *other, username).await?;
        }
    }
    let Some(found) = found else { return Err(Fault::new(Reason::CodeInvalid)) };
    verification::check(&ctx.db, send_code::PURPOSE, &send_code::address(&found), code, now).await?;
    if found.region != region {
        return Err(Fault::new(Reason::RegionMismatch));
    }
    Ok(found)
}

/// Binds the workspace. Locks the account, then the purchase, then writes the workspace.
///
/// Fails as `BindingService.BindWorkspace` lists; the caller rolls back then.
pub async fn run(tx: &Tx, ctx: &Context, wish: &Wish, now: Timestamp) -> Result<Bound, Fault> {
    let account = payer(tx, ctx, &wish.payer, now).await?;
    let profile = &wish.profile;
    if account.region != profile.billing_region {
        return Err(Fault::new(Reason::RegionMismatch));
    }
    let facts = Facts {
        site_methods: &profile.default_methods,
        any_settlement_allowed: account.any_settlement_allowed,
        standing: WorkspaceStanding::Active,
        has_package: false,
    };
    rules::allowed(wish.method, &facts)?;
    // One that comes back to the account may still have a package of it.
    let zone = zone(&profile.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    package_hold::refuse(tx, &account.id, &profile.id, wish.method, UsageDay::of(now, &zone)).await?;
    let attached = match (wish.method, &wish.claim) {
        (SettlementMethod::Cloud(vendor), Some(claim)) => {
            Some(attach_purchase::run(tx, &account, vendor, claim, now).await?)
        }
        (SettlementMethod::BillingCenter, None) => None,
        (SettlementMethod::Cloud(_), None) | (SettlementMethod::BillingCenter, Some(_)) => {
            return Err(Fault::field(
                "purchase",
                "is required for a cloud, and absent for the Billing Center",
            ));
        }
    };
    let settlement = attached.as_ref().map_or(Settlement::BillingCenter, |a| a.settlement.clone());
    let workspace = new_workspace(&account, profile, &settlement, now);
    if !workspace::insert(tx, &workspace).await? {
        let bound = workspace::find(tx, &workspace.id).await?;
        let dissolved = bound.is_some_and(|w| w.standing.state == WorkspaceStanding::Dissolved);
        return Err(Fault::new(match dissolved {
            true => Reason::WorkspaceDissolved,
            false => Reason::WorkspaceAlreadyBound,
        }));
    }
    let period = Period {
        billing_account: account.id.clone(),
        workspace: workspace.id.clone(),
        from: now,
        to: None,
        settlement,
        cause: Cause::Bound,
    };
    binding::start(tx, std::slice::from_ref(&period)).await?;
    stand::announce(tx, std::slice::from_ref(&workspace.id), now).await?;
    let newly_known = attached.filter(|a| a.newly_known).map(|a| a.subscription);
    Ok(Bound { workspace, period, account, newly_known })
}

async fn payer(tx: &Tx, ctx: &Context, payer: &Payer, now: Timestamp) -> Result<BillingAccount, Fault> {
    match payer {
        Payer::New(new) => create_account::run(tx, ctx, new, now).await,
        Payer::Proved { account, code } => {
            let found = account::lock(tx, account).await?.ok_or(Fault::new(Reason::CodeInvalid))?;
            verification::redeem(tx, send_code::PURPOSE, &send_code::address(&found), code, now).await?;
            Ok(found)
        }
    }
}

/// The workspace, in its account's countdown when the account is in arrears and pays for it itself.
fn new_workspace(
    account: &BillingAccount,
    profile: &Profile,
    settlement: &Settlement,
    now: Timestamp,
) -> Workspace {
    let owes = account.arrears_since.filter(|_| *settlement == Settlement::BillingCenter);
    let counting = owes.and_then(|since| Standing::ACTIVE.join_arrears(since, now));
    Workspace {
        billing_account: account.id.clone(),
        id: profile.id.clone(),
        name: profile.name.clone(),
        site: profile.site.clone(),
        time_zone: profile.time_zone.clone(),
        price_zone: profile.price_zone,
        billing_region: profile.billing_region,
        default_methods: profile.default_methods.clone(),
        language: profile.language,
        owner_email: profile.owner_email.clone(),
        profile_revision: profile.revision,
        bound_at: now,
        method_changed_month: None,
        standing: counting.unwrap_or(Standing::ACTIVE),
        // Announcing makes it the first.
        revision: 0,
    }
}
