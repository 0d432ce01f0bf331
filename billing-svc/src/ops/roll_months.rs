//! Makes monthly bills (`domain.md` 3.17, 4.1): fixes months that are over and billed, sums up their daily bills and
//! tells the accounts.
//!
//! Bounded pieces: many small accounts in one transaction, an account with very many bills in several. Where a month
//! stands is kept with it, so that the work goes on after a crash, and several replicas never do it twice.

use jiff::Timestamp;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{LineAmount, Money};
use tandem_proto::month::Month;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::alarm;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::monthly::{self, MonthKey};
use crate::mail::{self, Letter, MonthInMail};
use crate::store::monthly_bill::{self, Due, MonthlyBill};
use crate::store::monthly_roll::{self, Span};
use crate::store::{account, monthly_totals, site_day};

/// Daily bills summed up in one transaction: at 6 lines each some 30 000 rows, far below the statement time limit.
const BILLS_MAX: i64 = 5_000;
/// Monthly bills looked at in one run; the rest comes with the next.
const BATCH: i64 = 200;

/// Makes a bounded number of monthly bills that are due at an instant, or steps of large ones, oldest month first.
/// Returns how many.
pub async fn run(ctx: &Context, due: Timestamp) -> Result<usize, Fault> {
    let (mut steps, mut failed) = (0, None);
    for region in BillingRegion::ALL {
        match region_months(ctx, *region, monthly::billable_through(*region, due)).await {
            Ok(more) => steps += more,
            Err(fault) => failed = Some(fault),
        }
    }
    match failed {
        Some(fault) if steps == 0 => Err(fault),
        _ => Ok(steps),
    }
}

/// One bounded piece of work for a region: the oldest month that has something to do.
async fn region_months(ctx: &Context, region: BillingRegion, through: Month) -> Result<usize, Fault> {
    let (mut after, mut failed) = (0, None);
    // A month in which accounts only wait, or fail, must not hold up a later one of other accounts.
    while let Some(month) = monthly_bill::next_open_month(&ctx.db.read, region, after, through).await? {
        match month_batch(ctx, Choice { region, month, account: None, wait: true }).await {
            Ok((0, _)) => {}
            Ok((steps, _)) => return Ok(steps),
            Err(fault) => failed = Some(fault),
        }
        after = month.number();
    }
    failed.map_or(Ok(0), Err)
}

/// Which monthly bills are made.
#[derive(Clone, Copy)]
struct Choice<'a> {
    region: BillingRegion,
    month: Month,
    account: Option<&'a BillingAccountId>,
    /// Only when all sites have billed the month.
    wait: bool,
}

/// Makes a batch of a month's bills. Returns how many steps it made, and how many bills these finished.
async fn month_batch(ctx: &Context, choice: Choice<'_>) -> Result<(usize, usize), Fault> {
    let (db, now) = (&ctx.db.read, ctx.clock.now());
    let Choice { region, month, account, wait } = choice;
    let sites = if wait { site_day::billed_through(db, month.last_day()).await? } else { Vec::new() };
    let ready = wait.then(|| (sites.as_slice(), monthly::over_everywhere(month)));
    let due = monthly_bill::due(db, Due { region, month, account, ready }, BATCH).await?;
    let (mut steps, mut finished, mut failed) = (0, 0, None);
    for batch in monthly::runs(due, BILLS_MAX, |m| m.totals.bill_count.max(1)) {
        let keys: Vec<MonthKey> = batch.into_iter().map(|m| m.key).collect();
        let done = match step(ctx, &keys, now).await {
            // One account's trouble holds up no other account (I-27).
            Err(fault) if keys.len() > 1 => {
                let mut alone = Err(fault);
                for key in &keys {
                    match step(ctx, std::slice::from_ref(key), now).await {
                        Ok(one) => alone = Ok(alone.unwrap_or(0) + one),
                        Err(fault) => failed = Some(report(key, fault)),
                    }
                }
                // Where not even one could be made alone, nothing was done.
                alone
            }
            other => other,
        };
        match (done, keys.first()) {
            (Ok(done), _) => (steps, finished) = (steps + 1, finished + done),
            (Err(fault), Some(key)) if keys.len() == 1 => failed = Some(report(key, fault)),
            (Err(fault), _) => failed = Some(fault),
        }
    }
    if finished > 0 {
        tracing::info!(month = %month, bills = finished, "made {finished} monthly bills of {month}");
    }
    match failed {
        Some(fault) if steps == 0 => Err(fault),
        _ => Ok((steps, finished)),
    }
}

fn report(key: &MonthKey, fault: Fault) -> Fault {
    let (account, month) = (&key.billing_account, key.month);
    tracing::error!(
        billing_account.id = %account, month = %month, reason = fault.reason.name(),
        "the monthly bill of {account} for {month} failed"
    );
    alarm::raise("monthly_bill");
    fault
}

/// One transaction: sums up all of these months, or the next part of one that is large. Returns how many it finished.
async fn step(ctx: &Context, keys: &[MonthKey], now: Timestamp) -> Result<usize, Fault> {
    let tx = ctx.db.begin().await?;
    let ids: Vec<BillingAccountId> = keys.iter().map(|key| key.billing_account.clone()).collect();
    // From here on nobody adds a daily bill to these accounts, and nobody else makes their monthly bills.
    let payers = account::lock_all(&tx, &ids).await?;
    let open = monthly_bill::lock_unfinished(&tx, keys).await?;
    if let [large] = open.as_slice()
        && let Some((span, (day, id))) = next_part(&tx, large).await?
    {
        monthly_roll::add(&tx, &[span]).await?;
        monthly_bill::save_place(&tx, &large.key, day, &id).await?;
        tx.commit().await?;
        return Ok(0);
    }
    if open.is_empty() {
        tx.rollback().await;
        return Ok(0);
    }
    let spans = open.iter().map(rest).collect::<Result<Vec<Span>, StoreError>>()?;
    let keys: Vec<MonthKey> = open.into_iter().map(|m| m.key).collect();
    monthly_roll::add(&tx, &spans).await?;
    monthly_bill::finish(&tx, &keys, now).await?;
    outbox::add(&tx, &letters(&tx, ctx, &keys, &payers).await?, now).await?;
    tx.commit().await?;
    Ok(keys.len())
}

/// What of a month is not summed up yet.
fn rest(m: &MonthlyBill) -> Result<Span, StoreError> {
    match &m.rolled {
        (0, _) => Ok(Span::whole(&m.key)),
        (day, id) => {
            let day = UsageDay::from_number(*day);
            let day = day.map_err(|_| StoreError::Corrupt { table: "monthly_bill", column: "rolled_day" })?;
            Ok(Span::rest(&m.key, day, id))
        }
    }
}

/// The next part of a month, and where the one after it begins; `None` when what is left is one part.
async fn next_part(tx: &Tx, m: &MonthlyBill) -> Result<Option<(Span, (UsageDay, String))>, StoreError> {
    let span = rest(m)?;
    let next = monthly_roll::place_after(tx, &span, BILLS_MAX).await?;
    Ok(next.map(|next| (Span { until: next.clone(), ..span }, next)))
}

/// One mail for each monthly bill.
async fn letters(
    tx: &Tx,
    ctx: &Context,
    keys: &[MonthKey],
    payers: &[BillingAccount],
) -> Result<Vec<outbox::Outgoing>, StoreError> {
    let items = monthly_totals::items(tx, keys).await?;
    let paid = monthly_totals::paid_stored(tx, keys).await?;
    let workspaces = monthly_totals::workspace_counts(tx, keys).await?;
    let mut mails = Vec::new();
    for m in monthly_bill::read_again(tx, keys).await? {
        let Some(payer) = payers.iter().find(|payer| payer.id == m.key.billing_account) else { continue };
        let currency = m.key.currency;
        let money = |minor| Money { minor, currency }.to_string();
        let amount = |micros| LineAmount { micros, currency }.to_string();
        let letter = Letter::MonthlyBill(MonthInMail {
            month: m.key.month.to_string(),
            payable: money(m.totals.payable),
            paid: paid
                .iter()
                .filter(|(key, _, _)| *key == m.key)
                .map(|(_, by, minor)| (*by, money(*minor)))
                .collect(),
            in_cloud: money(m.totals.in_cloud),
            arrears: money(m.totals.arrears()),
            workspaces: workspaces.get(&m.key).copied().unwrap_or(0),
            items: items
                .get(&m.key)
                .into_iter()
                .flatten()
                .map(|(item, micros)| (item.map(|item| item.name()), amount(*micros)))
                .collect(),
        });
        let key = format!("monthly:{}:{}:{currency}", payer.id, m.key.month);
        let about = payer.id.as_str();
        mails.push(mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, about, &key));
    }
    Ok(mails)
}

/// What an operator's run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ran {
    /// Monthly bills it made.
    pub generated: usize,
    /// Monthly bills that wait for a site.
    pub waiting: i64,
    /// The sites that have not billed the month to its end.
    pub open_sites: Vec<String>,
}

/// Makes the monthly bills up to a month, of one account or of all. A second run changes nothing.
///
/// Fails with `MONTH_NOT_OVER` before the 4th of the following month in the account's zone, or in every zone when no
/// account is named; and with `OBJECT_NOT_FOUND` when there is no such account.
pub async fn run_month(
    ctx: &Context,
    month: Month,
    only: Option<&BillingAccountId>,
    wait: bool,
) -> Result<Ran, Fault> {
    let now = ctx.clock.now();
    let regions = match only {
        Some(id) => {
            let found = account::find(&ctx.db.read, id).await?;
            let region = found.ok_or(Fault::not_found("billing_account_id"))?.region;
            vec![region]
        }
        None => BillingRegion::ALL.to_vec(),
    };
    let ripe: Vec<BillingRegion> =
        regions.into_iter().filter(|region| month <= monthly::billable_through(*region, now)).collect();
    if ripe.is_empty() {
        let from = monthly::billable_from(month);
        return Err(Fault::new(Reason::MonthNotOver).with("billable_from", from.to_string()));
    }
    if let Some(id) = only {
        let tx = ctx.db.begin().await?;
        monthly_bill::open_missing(&tx, id).await?;
        tx.commit().await?;
    }
    let (mut ran, mut failed) = (Ran::default(), None);
    for region in ripe {
        let mut after = 0;
        while let Some(open) = monthly_bill::next_open_month(&ctx.db.write, region, after, month).await? {
            let choice = Choice { region, month: open, account: only, wait };
            loop {
                match month_batch(ctx, choice).await {
                    Ok((0, _)) => break,
                    Ok((_, finished)) => ran.generated += finished,
                    Err(fault) => {
                        failed = Some(fault);
                        break;
                    }
                }
            }
            after = open.number();
        }
        ran.waiting += monthly_bill::count_unfinished(&ctx.db.write, region, month, only).await?;
    }
    if let Some(fault) = failed {
        return Err(fault);
    }
    if ran.waiting > 0 {
        let billed = site_day::billed_through(&ctx.db.read, month.last_day()).await?;
        let used = site_day::sites_in_use(&ctx.db.read, monthly::over_everywhere(month)).await?;
        ran.open_sites = used.into_iter().filter(|site| !billed.contains(site)).collect();
    }
    Ok(ran)
}
