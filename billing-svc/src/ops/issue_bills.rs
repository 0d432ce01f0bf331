//! Issues bills: rates what is not on a bill, takes the money or hands the bill to a cloud, and writes everything down.
//!
//! Set-based: whatever the number of workspaces, the number of statements is the same.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::{BillId, BillingAccountId, MeteringRecordId, SubscriptionId};
use tandem_proto::money::{Currency, Money};
use tandem_proto::month::Month;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::outbox;

use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::bill::{self as rating, BillKind, BillState, Draft, Usage};
use crate::domain::deduction::{self, Instrument};
use crate::domain::event::FeedEvent;
use crate::domain::ledger::{Cause, CauseKind, Transfer};
use crate::domain::metering::{self, Window};
use crate::domain::price::PriceList;
use crate::domain::standing;
use crate::domain::subscription::Subscription;
use crate::domain::wallet::{BILLING_CENTER, CLOUD, Due, Part, Purchase, Wallet};
use crate::mail::{self, IssuedBill, Letter};
use crate::ops::cover_usage::{self, Covered, Made};
use crate::ops::{log_modes, stand};
use crate::store::account;
use crate::store::bill::{self, Bill, Payment};
use crate::store::feed::{self, NewEvent};
use crate::store::ledger::{self, Posting};
use crate::store::metering::{MeteringRecord, RecordWithBills};
use crate::store::settled::CloudRoute;
use crate::store::workspace::Workspace;
use crate::store::{lot, metering as records, monthly_bill, price, usage};

/// How far back taken windows of a purchase are looked at; older ones are past every deadline.
const WINDOWS_BACK: SignedDuration = SignedDuration::from_hours(72);

/// What a workspace used and how it is to be settled.
pub(super) struct Work {
    /// The workspace.
    pub(super) workspace: Workspace,
    /// The day of the bill.
    pub(super) day: UsageDay,
    /// What is not on a bill: of the day and of earlier ones.
    pub(super) usage: Vec<Usage>,
    /// Through which cloud; `None` is the Billing Center.
    pub(super) route: Option<CloudRoute>,
}

/// What kind of bills are made, and until when their usage lasted.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// Daily or final.
    pub(super) kind: BillKind,
    /// The end of the usage: metering windows end here or before.
    pub(super) until: Timestamp,
    /// Now.
    pub(super) now: Timestamp,
}

struct Drafted {
    work: Work,
    payer: BillingAccount,
    draft: Draft,
    id: BillId,
}

/// Issues the bills of what workspaces used; those with nothing to pay get none. The accounts must be locked.
pub(super) async fn issue(
    tx: &Tx,
    ctx: &Context,
    run: Run,
    mut works: Vec<Work>,
    payers: &[BillingAccount],
) -> Result<usize, Fault> {
    // A fixed month takes no daily bill any more: what was used stays unbilled and stands as adjustments on the bill of
    // a day after it (D13).
    let fixed = monthly_bill::fixed_through(tx, payers.iter().map(|payer| &payer.id)).await?;
    works.retain(|w| fixed.get(&w.workspace.billing_account).is_none_or(|month| Month::of(w.day) > *month));
    let lists = price::all_for_bills(tx).await?;
    let covered = cover_usage::cover(tx, &mut works, payers).await?;
    let mut drafted = draft_all(works, payers, &lists, &covered);
    let made: Vec<Made<'_>> = drafted.iter().map(Drafted::made).collect();
    cover_usage::record(tx, covered, &made, run.now).await?;
    if drafted.is_empty() {
        return Ok(0);
    }
    let windows = choose_windows(tx, ctx, run, &drafted).await?;
    // What no cloud takes any more is settled by the Billing Center: never nowhere (I-17).
    for d in &mut drafted {
        let taken = d
            .work
            .route
            .as_ref()
            .is_some_and(|r| windows.contains_key(&(r.subscription.clone(), d.payer.currency)));
        if !taken {
            d.work.route = None;
        }
    }
    let ids: Vec<BillingAccountId> = payers.iter().map(|d| d.id.clone()).collect();
    let mut wallets = lot::wallets(tx, &ids).await?;
    let mut issued = Issued::default();
    for d in &drafted {
        issued.add(d, run, wallets.entry(d.payer.id.clone()).or_default())?;
    }
    let marks: Vec<_> = drafted.iter().flat_map(|d| billed_usage(&d.work)).collect();
    usage::mark_billed(tx, &marks).await?;
    bill::insert(tx, &issued.bills).await?;
    bill::insert_payments(tx, &issued.payments).await?;
    ledger::post(tx, &issued.postings, run.now).await?;
    feed::add(tx, &issued.events, run.now).await?;
    records::insert(tx, &metering_records(ctx, run, &drafted, &issued, &windows)?).await?;
    outbox::add(tx, &bill_mails(ctx, &drafted, &issued), run.now).await?;
    take_standings(tx, ctx, payers, &wallets, run.now).await?;
    Ok(issued.bills.len())
}

/// Makes the final bills of workspaces that settle through an ending purchase, before they are detached from it: what
/// has been delivered so far, in the vendor's window while there is one (`domain.md` 3.11 step 3).
///
/// The billing account and the workspaces must be locked. What the vendor no longer takes stays unbilled and is settled
/// by the Billing Center with the day's bill.
pub async fn issue_final(
    tx: &Tx,
    ctx: &Context,
    subscription: &Subscription,
    workspaces: &[Workspace],
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(route) = CloudRoute::through(subscription) else { return Ok(()) };
    let places: Vec<_> = workspaces.iter().map(|w| (w.billing_account.clone(), w.id.clone())).collect();
    // Zones differ by at most a day from UTC; each workspace's own day is cut below.
    let latest = UsageDay::of(now, &jiff::tz::TimeZone::UTC).next();
    let mut unbilled = usage::unbilled(tx, &places, latest).await?;
    // Not set aside yet: a day that has not begun may still change its log mode.
    log_modes::split(tx, &mut unbilled).await?;
    let Some(oldest) = unbilled.values().flatten().map(|used| used.day).min() else { return Ok(()) };
    let billed = bill::billed_days(tx, &places, oldest).await?;
    let fixed = monthly_bill::fixed_through(tx, workspaces.iter().map(|w| &w.billing_account)).await?;
    let mut works = Vec::new();
    for workspace in workspaces {
        let place = (workspace.billing_account.clone(), workspace.id.clone());
        let Some(rows) = unbilled.remove(&place) else { continue };
        let zone = zone(&workspace.time_zone)
            .ok_or(StoreError::Corrupt { table: "workspace", column: "time_zone" })?;
        let today = UsageDay::of(now, &zone);
        // Each day that has no bill yet gets its own; what changed on billed days, and what is left of a fixed month,
        // stands on today's. Where today had a
        // final bill already, because another purchase ended today, all that waits for the day's own bill (I-13).
        let has = |day, kind| billed.contains(&(workspace.id.clone(), day, kind));
        let mut days: BTreeMap<UsageDay, Vec<Usage>> = BTreeMap::new();
        for row in rows {
            let past =
                fixed.get(&workspace.billing_account).is_some_and(|month| Month::of(row.day) <= *month);
            let fresh =
                row.day == today || !(past || has(row.day, BillKind::Daily) || has(row.day, BillKind::Final));
            let day = if fresh { row.day } else { today };
            if !has(day, BillKind::Final) {
                days.entry(day).or_default().push(row);
            }
        }
        let route = Some(route.clone());
        works.extend(days.into_iter().map(|(day, usage)| Work {
            workspace: workspace.clone(),
            day,
            usage,
            route: route.clone(),
        }));
    }
    let ids: Vec<BillingAccountId> = workspaces.iter().map(|w| w.billing_account.clone()).collect();
    let payers = account::find_all(tx, &ids).await?;
    let run = Run { kind: BillKind::Final, until: now, now };
    // Only what a cloud still takes: the rest waits for the day's own bill.
    let lists = price::all_for_bills(tx).await?;
    let probe = draft_all(works, &payers, &lists, &Covered::default());
    if probe.is_empty() || choose_windows(tx, ctx, run, &probe).await?.is_empty() {
        return Ok(());
    }
    let works = probe.into_iter().map(|d| d.work).collect();
    issue(tx, ctx, run, works, &payers).await?;
    ctx.wakes.metering.notify_one();
    Ok(())
}

impl Drafted {
    fn made(&self) -> Made<'_> {
        let (account, workspace) = (&self.payer.id, &self.work.workspace.id);
        Made { account, workspace, day: self.work.day, bill: &self.id, lines: &self.draft.lines }
    }
}

fn draft_all(
    works: Vec<Work>,
    payers: &[BillingAccount],
    lists: &[PriceList],
    covered: &Covered,
) -> Vec<Drafted> {
    let payers: HashMap<_, _> = payers.iter().map(|d| (&d.id, d)).collect();
    let mut drafted = Vec::new();
    for work in works {
        let Some(payer) = payers.get(&work.workspace.billing_account) else { continue };
        let packaged = covered.of(&work);
        let zone = work.workspace.price_zone;
        match rating::draft_with(work.day, zone, payer.currency, &work.usage, packaged, lists) {
            Ok(Some(draft)) => {
                let payer = (*payer).clone();
                drafted.push(Drafted { work, payer, draft, id: fresh() });
            }
            Ok(None) => {}
            // The usage stays unbilled and visible; it must not hold up everybody else's bills.
            Err(error) => {
                let workspace = &work.workspace.id;
                tracing::error!(workspace.id = %workspace, day = %work.day, error = %error, "cannot rate {workspace}");
            }
        }
    }
    drafted
}

type WindowKey = (SubscriptionId, Currency);

/// The window of each purchase's record; a purchase without one cannot take usage any more.
async fn choose_windows(
    tx: &Tx,
    ctx: &Context,
    run: Run,
    drafted: &[Drafted],
) -> Result<HashMap<WindowKey, Window>, Fault> {
    let routes: BTreeMap<&SubscriptionId, (&CloudRoute, Currency)> = drafted
        .iter()
        .filter_map(|d| d.work.route.as_ref().map(|r| (&r.subscription, (r, d.payer.currency))))
        .filter(|(_, (r, _))| r.state.takes_usage() && !r.trial)
        .collect();
    if routes.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<SubscriptionId> = routes.keys().map(|id| (*id).clone()).collect();
    let taken = records::windows(tx, &ids, run.now - WINDOWS_BACK).await?;
    let mut windows = HashMap::new();
    for (id, (route, currency)) in routes {
        let Some(policy) = ctx.vendors.get(&route.vendor).and_then(|rules| rules.metering.as_ref()) else {
            continue;
        };
        let taken: Vec<Timestamp> = taken.iter().filter(|(s, _)| s == id).map(|(_, start)| *start).collect();
        if let Some(window) = policy.window(&taken, run.until, run.now) {
            windows.insert((id.clone(), currency), window);
        }
    }
    Ok(windows)
}

fn billed_usage(work: &Work) -> impl Iterator<Item = (usage::Place, &Usage)> {
    let place = (work.workspace.billing_account.clone(), work.workspace.id.clone());
    work.usage.iter().map(move |used| (place.clone(), used))
}

/// Everything that is written for the bills of a run.
#[derive(Default)]
struct Issued {
    bills: Vec<(Bill, Vec<rating::Line>)>,
    payments: Vec<Payment>,
    postings: Vec<Posting>,
    events: Vec<NewEvent>,
}

impl Issued {
    fn add(&mut self, d: &Drafted, run: Run, wallet: &mut Wallet) -> Result<(), Fault> {
        let payable = d.draft.payable.minor;
        let restricted = d.draft.restricted;
        let due = Due { restricted, ordinary: payable - restricted };
        let what = Purchase { due, total: payable, day: d.work.day, now: run.now };
        let kinds = if d.work.route.is_some() { CLOUD } else { BILLING_CENTER };
        let (parts, left) = wallet.pay(kinds, what);
        let (paid, rest) = (payable - left.total(), left.total());
        let (state, arrears) = match (&d.work.route, rest) {
            (_, 0) => (BillState::Paid, 0),
            (Some(_), _) => (BillState::Submitted, 0),
            (None, _) => (BillState::InArrears, rest),
        };
        wallet.owe(arrears).map_err(|_| broken("overdraft"))?;
        let transfer = deduction::bill(Cause::new(CauseKind::Bill, d.id.as_str()), &parts, arrears);
        let transfer = transfer.map_err(|_| broken("transfer"))?;
        self.payments.extend(payments_of(&d.id, &d.payer.id, &transfer, &parts, run.now));
        // A bill that goes to a cloud whole moves nothing yet.
        if !transfer.is_empty() {
            let billing_account = d.payer.id.clone();
            self.postings.push(Posting { billing_account, currency: d.payer.currency, transfer });
        }
        let bill = Bill {
            id: d.id.clone(),
            billing_account: d.payer.id.clone(),
            workspace: d.work.workspace.id.clone(),
            workspace_name: d.work.workspace.name.clone(),
            day: d.work.day,
            kind: run.kind,
            currency: d.payer.currency,
            price_zone: d.work.workspace.price_zone,
            price_list_version: d.draft.price_list_version.clone(),
            method: d
                .work
                .route
                .as_ref()
                .map_or(SettlementMethod::BillingCenter, |r| SettlementMethod::Cloud(r.vendor)),
            cloud_account: d.work.route.as_ref().map(|r| r.cloud_account.clone()),
            subscription: d.work.route.as_ref().map(|r| r.subscription.clone()),
            payable,
            restricted,
            paid,
            state,
            issued_at: run.now,
            paid_at: (state == BillState::Paid).then_some(run.now),
        };
        self.events.push(event(
            &bill,
            FeedEvent::BillIssued {
                bill_id: bill.id.as_str().to_owned(),
                usage_day: bill.day.number(),
                currency: bill.currency.code().to_owned(),
                payable,
                arrears,
            },
        ));
        if state == BillState::Paid {
            self.events.push(event(&bill, FeedEvent::BillPaid { bill_id: bill.id.as_str().to_owned() }));
        }
        self.bills.push((bill, d.draft.lines.clone()));
        Ok(())
    }
}

/// An event about a bill.
pub(super) fn event(bill: &Bill, event: FeedEvent) -> NewEvent {
    NewEvent {
        billing_account: bill.billing_account.as_str().to_owned(),
        workspace: Some(bill.workspace.as_str().to_owned()),
        event,
    }
}

/// What lots paid of a bill.
pub(super) fn payments_of(
    bill: &BillId,
    account: &BillingAccountId,
    transfer: &Transfer,
    parts: &[Part],
    now: Timestamp,
) -> impl Iterator<Item = Payment> {
    parts.iter().map(move |part| Payment {
        bill: bill.clone(),
        billing_account: account.clone(),
        transfer_id: transfer.cause.transfer_id(),
        lot: part.lot.clone(),
        instrument: Instrument::from(part.kind),
        amount: part.amount,
        restricted: part.restricted,
        paid_at: now,
    })
}

fn broken(column: &'static str) -> Fault {
    StoreError::Corrupt { table: "ledger_entry", column }.into()
}

/// The bills of a run that settle through one purchase.
struct Group<'a> {
    route: &'a CloudRoute,
    payer: &'a BillingAccount,
    bills: Vec<(BillId, i64)>,
}

/// One record for each purchase: what lots left of all bills of this run that settle through it.
fn metering_records(
    ctx: &Context,
    run: Run,
    drafted: &[Drafted],
    issued: &Issued,
    windows: &HashMap<WindowKey, Window>,
) -> Result<Vec<RecordWithBills>, Fault> {
    let mut groups: BTreeMap<(SubscriptionId, &'static str), Group<'_>> = BTreeMap::new();
    for (d, (bill, _)) in drafted.iter().zip(&issued.bills) {
        let Some(route) = &d.work.route else { continue };
        let rest = bill.payable - bill.paid;
        if rest == 0 {
            continue;
        }
        let key = (route.subscription.clone(), d.payer.currency.code());
        let group = groups.entry(key).or_insert_with(|| Group { route, payer: &d.payer, bills: Vec::new() });
        group.bills.push((d.id.clone(), rest));
    }
    let mut made = Vec::new();
    for ((subscription, _), Group { route, payer, bills }) in groups {
        let policy = ctx.vendors.get(&route.vendor).and_then(|rules| rules.metering.as_ref());
        let window = windows.get(&(subscription.clone(), payer.currency));
        let (Some(policy), Some(window)) = (policy, window) else { return Err(broken("window")) };
        let total = bills
            .iter()
            .try_fold(0_i64, |sum, (_, minor)| sum.checked_add(*minor))
            .ok_or_else(|| broken("amount"))?;
        let record = MeteringRecord {
            id: fresh::<MeteringRecordId>(),
            subscription,
            billing_account: payer.id.clone(),
            vendor: route.vendor,
            market: route.market,
            vendor_instance_id: route.vendor_instance_id.clone(),
            vendor_account_id: route.vendor_account_id.clone(),
            product_code: route.product_code.clone(),
            dimension: policy.dimension.clone(),
            window: *window,
            // One unit of the dimension is one minor unit of the currency (`domain.md` section 6).
            quantity: total,
            amount: Money { minor: total, currency: payer.currency },
            is_final: run.kind == BillKind::Final,
            state: metering::State::Pending,
            attempts: 0,
            available_at: run.now,
            vendor_code: String::new(),
            vendor_reference: String::new(),
            note: String::new(),
            created_at: run.now,
            decided_at: None,
            traceparent: None,
        };
        made.push((record, bills));
    }
    Ok(made)
}

/// One mail to each account, naming its bills of this run.
fn bill_mails(ctx: &Context, drafted: &[Drafted], issued: &Issued) -> Vec<outbox::Outgoing> {
    let mut by_account: BTreeMap<&BillingAccountId, (&BillingAccount, Vec<IssuedBill>, &BillId)> =
        BTreeMap::new();
    for (d, (bill, _)) in drafted.iter().zip(&issued.bills) {
        let money = |minor| Money { minor, currency: bill.currency }.to_string();
        let facts = IssuedBill {
            day: bill.day.to_string(),
            workspace: bill.workspace_name.clone(),
            payable: money(bill.payable),
            paid: money(bill.paid),
            arrears: money(if bill.state == BillState::InArrears { bill.payable - bill.paid } else { 0 }),
        };
        by_account.entry(&d.payer.id).or_insert_with(|| (&d.payer, Vec::new(), &d.id)).1.push(facts);
    }
    let mails = by_account.into_values().map(|(payer, bills, first)| {
        let letter = Letter::BillsIssued { bills };
        let key = format!("bills:{first}");
        mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, payer.id.as_str(), &key)
    });
    mails.collect()
}

/// Puts accounts that owe something now into arrears, and their workspaces into the countdown.
pub(super) async fn take_standings(
    tx: &Tx,
    ctx: &Context,
    payers: &[BillingAccount],
    wallets: &HashMap<BillingAccountId, Wallet>,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut changed = Vec::new();
    let mut started = Vec::new();
    for payer in payers {
        let Some(wallet) = wallets.get(&payer.id) else { continue };
        let (state, since) =
            standing::of_account(payer.standing, payer.arrears_since, wallet.overdraft() < 0, now);
        if (state, since) == (payer.standing, payer.arrears_since) {
            continue;
        }
        let after = BillingAccount { standing: state, arrears_since: since, ..payer.clone() };
        if payer.arrears_since.is_none() {
            let owed = Money { minor: -wallet.overdraft(), currency: payer.currency };
            started.push((after.clone(), owed.to_string()));
        }
        changed.push(after);
    }
    account::save_standings(tx, &changed).await?;
    stand::start_arrears(tx, ctx, &started, now).await
}
