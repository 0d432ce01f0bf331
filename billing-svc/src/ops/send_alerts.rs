//! Looks at the rules of workspaces whose usage has changed, and tells of those that have been exceeded
//! (`domain.md` 3.16).

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::money::{Currency, LineAmount, MICROS_PER_MINOR, Money};
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::log_modes;
use crate::context::Context;
use crate::domain::alert::{Exceeded, LATE_DAYS, Spend, exceeded, period_text};
use crate::domain::bill::{self as rating, Usage};
use crate::domain::package_lines::Packaged;
use crate::domain::price::PriceList;
use crate::mail::{self, Letter};
use crate::store::account::key;
use crate::store::alert::{self, SpendAlert};
use crate::store::usage::Place;
use crate::store::workspace::{self, Workspace};
use crate::store::{account, price, usage};

/// Rules looked at in one transaction.
const BATCH: i64 = 200;

/// Looks at a bounded number of rules. Returns how many.
///
/// What is spent is what stands on bills and, at the prices in force, what does not yet: a rule speaks up while the day
/// is still running. Each rule tells once for its period.
pub async fn run(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let tx = ctx.db.begin().await?;
    let due = alert::take_due(&tx, BATCH).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let ids: BTreeSet<&WorkspaceId> = due.iter().map(|a| &a.workspace).collect();
    let ids: Vec<WorkspaceId> = ids.into_iter().cloned().collect();
    let workspaces: HashMap<WorkspaceId, Workspace> =
        workspace::find_all(&tx, &ids).await?.into_iter().map(|w| (w.id.clone(), w)).collect();
    let spends = spends(&tx, &workspaces, now).await?;
    let mut over: Vec<(&SpendAlert, Exceeded)> = Vec::new();
    for alert in &due {
        let Some(spend) = spends.get(&alert.workspace) else { continue };
        let Some(workspace) = workspaces.get(&alert.workspace) else { continue };
        // The account's currency has been changed since: the threshold says nothing any more.
        if workspace.billing_account != alert.billing_account || spend.currency != alert.currency {
            continue;
        }
        let threshold = alert.threshold.saturating_mul(MICROS_PER_MINOR);
        let found = exceeded(alert.watched, threshold, &spend.spend, today(workspace, now)?);
        over.extend(found.into_iter().map(|found| (alert, found)));
    }
    let sent: Vec<_> = over.iter().map(|(alert, found)| (*alert, found.period, found.spent)).collect();
    let fresh = alert::note_sent(&tx, &sent, now).await?;
    let mut mails = Vec::new();
    for (place, (alert, found)) in over.iter().enumerate() {
        if let (true, Some(workspace)) = (fresh.contains(&place), workspaces.get(&alert.workspace)) {
            mails.extend(mails_of(ctx, alert, workspace, *found));
        }
    }
    outbox::add(&tx, &mails, now).await?;
    tx.commit().await?;
    if !fresh.is_empty() {
        tracing::info!(alerts = fresh.len(), "{} spend alerts were exceeded", fresh.len());
    }
    Ok(due.len())
}

/// What a workspace costs so far.
struct SpendSoFar {
    currency: Currency,
    spend: Spend,
}

/// What workspaces cost in the periods that rules look at.
async fn spends(
    tx: &tandem_service_kit::db::Tx,
    workspaces: &HashMap<WorkspaceId, Workspace>,
    now: Timestamp,
) -> Result<HashMap<WorkspaceId, SpendSoFar>, Fault> {
    let places: Vec<Place> = workspaces.values().map(|w| (w.billing_account.clone(), w.id.clone())).collect();
    let utc = UsageDay::of(now, &jiff::tz::TimeZone::UTC);
    // Zones differ by at most a day from UTC; each rule looks at its own days only.
    let (since, latest) = (utc.plus_days(-LATE_DAYS - 1), utc.next());
    let first = first_of_month(since);
    let ids: BTreeSet<&BillingAccountId> = workspaces.values().map(|w| &w.billing_account).collect();
    let ids: Vec<BillingAccountId> = ids.into_iter().cloned().collect();
    let payers = account::find_all(tx, &ids).await?;
    let mut billed = alert::billed(tx, &places, first, since).await?;
    let mut unbilled = usage::unbilled(tx, &places, latest).await?;
    // What is statistics only by today's mode of a workspace costs nothing.
    log_modes::split(tx, &mut unbilled).await?;
    let lists = price::all(tx).await?;
    let mut spends = HashMap::new();
    for workspace in workspaces.values() {
        let Some(payer) = payers.iter().find(|payer| payer.id == workspace.billing_account) else { continue };
        let mut spend = billed.remove(&workspace.id).unwrap_or_default();
        let place = (workspace.billing_account.clone(), workspace.id.clone());
        for used in unbilled.remove(&place).unwrap_or_default() {
            add(&mut spend, &used, workspace, payer.currency, &lists);
        }
        spends.insert(workspace.id.clone(), SpendSoFar { currency: payer.currency, spend });
    }
    Ok(spends)
}

/// Adds what is not on a bill. What has no price costs nothing yet; the bill run reports it.
fn add(spend: &mut Spend, used: &Usage, workspace: &Workspace, currency: Currency, lists: &[PriceList]) {
    let rated = rating::rate(used, used.day, workspace.price_zone, currency, &Packaged::default(), lists);
    let Ok(line) = rated else { return };
    *spend.months.entry(used.day.month()).or_default() += line.amount.micros;
    *spend.days.entry((used.day, used.item)).or_default() += line.amount.micros;
}

fn first_of_month(day: UsageDay) -> UsageDay {
    UsageDay::from_number(day.month() * 100 + 1).unwrap_or(day)
}

fn today(workspace: &Workspace, now: Timestamp) -> Result<UsageDay, StoreError> {
    let zone = zone(&workspace.time_zone);
    let zone = zone.ok_or(StoreError::Corrupt { table: "workspace", column: "time_zone" })?;
    Ok(UsageDay::of(now, &zone))
}

/// One mail for the owner, who is always told, and one for each member who is named.
fn mails_of(
    ctx: &Context,
    alert: &SpendAlert,
    workspace: &Workspace,
    found: Exceeded,
) -> Vec<outbox::Outgoing> {
    let spent = LineAmount { micros: found.spent, currency: alert.currency };
    let letter = Letter::SpendAlert {
        workspace: workspace.name.clone(),
        item: alert.watched.name().to_owned(),
        period: period_text(alert.watched, found.period),
        threshold: Money { minor: alert.threshold, currency: alert.currency }.to_string(),
        spent: spent.to_string(),
    };
    let event = format!("spend:{}:{}:{}", alert.id, found.period, alert.threshold);
    let mut told = BTreeSet::new();
    let people = std::iter::once(&workspace.owner_email).chain(&alert.notify);
    let people = people.filter(|address| told.insert(key(address)));
    let mail = |to: &String| {
        mail::outgoing(&ctx.letterhead, &letter, to, workspace.language, workspace.id.as_str(), &event)
    };
    people.map(mail).collect()
}
