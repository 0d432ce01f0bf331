//! kill −9 of either service at any moment (I-08, I-17, I-20, I-25, I-29, I-39): what was acknowledged is there, nothing
//! is counted or mailed twice, and no cancellation is half done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use tandem_adapters::callback::CallbackAction;
use tandem_adapters::sandbox::state::{NoticeState, SandboxPurchase};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingItem, Role, SettlementMethod};
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::console::v1::commercial_activation::{Payer, Purchase};
use tandem_tests::customer::{Customer, Paid, activation, commercial, ids, paid};
use tandem_tests::day::{day, hours, payable, point};
use tandem_tests::dice::Dice;
use tandem_tests::engine::Engine;
use tandem_tests::system::{Service, Setup, System, request_id};

use crate::on_both_engines;

/// The services as child processes.
pub(crate) const NODE: &str = env!("CARGO_BIN_EXE_tandem-test-node");
/// Rounds when `TANDEM_KILL_ROUNDS` does not say more.
const ROUNDS: u64 = 4;
/// Longest time a round runs before something is killed.
const LIFE_MILLIS_MAX: u64 = 700;

on_both_engines! {
    nothing_acknowledged_is_lost_when_services_are_killed;
    billing_dies_at_each_commit;
    the_console_dies_at_each_commit;
}

fn rounds() -> u64 {
    std::env::var("TANDEM_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// A seed of this run, printed, so that a failure can be looked at again.
fn seed() -> u64 {
    let given = std::env::var("TANDEM_KILL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from_le_bytes(tandem_service_kit::fresh::random_bytes()));
    println!("TANDEM_KILL_SEED={seed}");
    seed
}

/// What is known of one hour's quantity.
#[derive(Default)]
struct Known {
    /// The quantity that was acknowledged last.
    acknowledged: Option<i64>,
    /// Quantities that were sent since, without an answer: they may have arrived or not.
    open: BTreeSet<i64>,
}

/// What this run has been promised.
#[derive(Default)]
struct Promised {
    /// By workspace and hour.
    points: Mutex<BTreeMap<(String, Timestamp), Known>>,
    /// Purchases that were released.
    released: Vec<String>,
}

impl Promised {
    fn points(&self) -> MutexGuard<'_, BTreeMap<(String, Timestamp), Known>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Customers {
    direct: Paid,
    cloud: Vec<(Customer, Paid, SandboxPurchase)>,
}

async fn nothing_acknowledged_is_lost_when_services_are_killed(engine: Engine) -> anyhow::Result<()> {
    let mut dice = Dice::new(seed());
    let system = Setup::new(engine).processes(NODE).run().await?;
    let (_, direct) = system.direct_customer("cn1", "steady").await?;
    system.recharge(&direct.account, "CNY", 100_000).await?;
    let mut customers = Customers { direct, cloud: Vec::new() };
    for round in 0..rounds() {
        let account = format!("17440000000{round:05}");
        let purchase = system.buy(&account).await?;
        let (customer, paid) = system.cloud_customer("cn1", &format!("cloud{round}"), &purchase).await?;
        customers.cloud.push((customer, paid, purchase));
    }
    let mut promised = Promised::default();
    let mut today = day("2026-03-02")?;
    for round in 0..usize::try_from(rounds())? {
        let hours = hours(today, "Asia/Shanghai")?;
        system.advance_to(hours[23]).await?;
        let victims: &[Service] = match dice.below(3) {
            0 => &[Service::Console],
            1 => &[Service::Billing],
            _ => &[Service::Console, Service::Billing],
        };
        let life = Duration::from_millis(dice.below(LIFE_MILLIS_MAX));
        let (_, _, purchase) = &customers.cloud[round];
        // Load, the day's close, its bill run and a cancellation, all at once; then the axe.
        let load =
            async { while batch(&system, &customers, &hours, &mut dice, &promised).await.is_some() {} };
        let axe = async {
            system.advance_to(hours[23] + SignedDuration::from_mins(75)).await?;
            system.sandbox.release(&purchase.instance_id, false)?;
            // Not a wait for anything: the random moment at which the process dies.
            tokio::time::sleep(life).await;
            for victim in victims {
                system.kill_service(*victim).await?;
            }
            anyhow::Ok(())
        };
        // With the Console gone the load ends by itself; otherwise it is cut off in the middle of a batch.
        let mut axe = std::pin::pin!(axe);
        tokio::select! {
            () = load => axe.await?,
            done = &mut axe => done?,
        }
        promised.released.push(purchase.instance_id.clone());
        for victim in victims {
            system.start_service(*victim).await?;
        }
        system.finish_day("cn1", today).await?;
        kept(&system, &customers, &promised).await.with_context(|| format!("round {round}, {victims:?}"))?;
        today = today.next();
    }
    system.check_converged().await
}

/// Sends a batch and remembers what was promised; `None` when there was no answer.
async fn batch(
    system: &System,
    customers: &Customers,
    hours: &[Timestamp],
    dice: &mut Dice,
    promised: &Promised,
) -> Option<()> {
    let mut keyed = BTreeMap::new();
    for _ in 0..20 {
        let paid = match usize::try_from(dice.below(u64::try_from(customers.cloud.len() + 1).ok()?)).ok()? {
            0 => &customers.direct,
            at => &customers.cloud[at - 1].1,
        };
        let quantity = i64::try_from(dice.below(100_000)).ok()?;
        keyed.insert((paid.workspace.clone(), dice.pick(hours)), quantity);
    }
    for (key, quantity) in &keyed {
        promised.points().entry(key.clone()).or_default().open.insert(*quantity);
    }
    let points: Vec<_> =
        keyed.iter().map(|((w, hour), quantity)| point(w, *hour, BillingItem::Trigger, *quantity)).collect();
    let request = console::RecordUsageRequest { request_id: request_id("usage"), points };
    let mut client = system.as_role(Role::UsageSource).ok()?.usage();
    let answer = client.record_usage(request).await.ok()?.into_inner();
    if answer.refused_count > 0 {
        return None;
    }
    for (key, quantity) in keyed {
        promised.points().insert(key, Known { acknowledged: Some(quantity), open: BTreeSet::new() });
    }
    Some(())
}

/// Everything promised is kept, once.
async fn kept(system: &System, customers: &Customers, promised: &Promised) -> anyhow::Result<()> {
    let rows = system.console_rows().await?;
    let promises: Vec<_> = promised
        .points()
        .iter()
        .filter_map(|(key, known)| Some((key.clone(), known.acknowledged?, known.open.clone())))
        .collect();
    for ((workspace, hour), acknowledged, open) in promises {
        let sql = format!(
            "SELECT COALESCE(MAX(quantity), -1) FROM usage_point WHERE workspace_id = '{workspace}' AND hour_start = {}",
            hour.as_microsecond()
        );
        let held = rows.number(&sql).await?;
        ensure!(
            held == acknowledged || open.contains(&held),
            "I-39: {acknowledged} of {workspace} at {hour} was acknowledged, {held} is held"
        );
    }
    for (customer, paid, purchase) in &customers.cloud {
        let released = promised.released.contains(&purchase.instance_id);
        let expected =
            if released { SettlementMethod::BillingCenter } else { SettlementMethod::AlibabaCloud };
        system
            .eventually("the cancellation is whole", async || {
                let binding = system.binding(&paid.workspace).await?;
                Ok((binding.settlement_method() == expected).then_some(()))
            })
            .await?;
        let history = system.history(&paid.workspace).await?;
        ensure!(history.len() == if released { 2 } else { 1 }, "{history:?}");
        if released {
            let told = async || {
                let mails = system.mails_to(&customer.email)?;
                anyhow::Ok(mails.iter().filter(|mail| mail.text.contains(&purchase.account_id)).count())
            };
            system.eventually("the customer is told", async || Ok((told().await? > 0).then_some(()))).await?;
            ensure!(told().await? == 1, "I-29: {} was told {} times", customer.email, told().await?);
        }
    }
    let acknowledged = system.sandbox.callbacks().into_iter().filter(|n| n.action == CallbackAction::Release);
    for notice in acknowledged.filter(|notice| notice.state == NoticeState::Done) {
        let instance = notice.fields.instance.unwrap_or_default();
        let state = system.subscription(&instance).await?.state();
        ensure!(
            state == billing::SubscriptionState::Cancelled,
            "I-39: {instance} was acknowledged and is {state:?}"
        );
    }
    system.check_invariants().await
}

async fn billing_dies_at_each_commit(engine: Engine) -> anyhow::Result<()> {
    a_service_dies_at_each_commit(engine, Service::Billing).await
}

async fn the_console_dies_at_each_commit(engine: Engine) -> anyhow::Result<()> {
    a_service_dies_at_each_commit(engine, Service::Console).await
}

/// At each commit in turn the process dies when the commit is done and nobody has heard of it: while a customer is
/// activated, usage is recorded, a day is closed, billed and metered, and while a cancellation with its final bill is.
///
/// Each time the service starts again, callers repeat what was not answered, and the flow goes on from what is durable.
async fn a_service_dies_at_each_commit(engine: Engine, mortal: Service) -> anyhow::Result<()> {
    let system = Setup::new(engine).processes(NODE).run().await?;
    let purchase = system.buy("1744000000000001").await?;
    let customer = system.register("cn1", "mortal").await?;
    let asked = commercial(
        Payer::CreateBillingAccount(true),
        SettlementMethod::AlibabaCloud,
        Some(Purchase::PurchaseIds(ids(&purchase))),
    );
    let request = activation(&customer, "mortal workspace", Activation::Commercial(asked));
    let mut answer = None;
    let mut deaths = system
        .die_at_each_commit(mortal, "the workspace is activated", async || {
            let activated = system.portal()?.registration().activate_workspace(request.clone()).await?;
            answer = Some(activated.into_inner());
            Ok(true)
        })
        .await?;
    let cloud = paid(answer.context("no answer")?)?;
    let (_, direct) = system.direct_customer("cn1", "direct").await?;

    let today = day("2026-03-02")?;
    let today_hours = hours(today, "Asia/Shanghai")?;
    system.advance_to(today_hours[23]).await?;
    let used = |hour, quantity| {
        let points =
            [&cloud, &direct].map(|paid| point(&paid.workspace, hour, BillingItem::Trigger, quantity));
        console::RecordUsageRequest { request_id: request_id("usage"), points: points.into() }
    };
    let record = async |request: &console::RecordUsageRequest| {
        let mut client = system.as_role(Role::UsageSource)?.usage();
        let answer = client.record_usage(request.clone()).await?.into_inner();
        ensure!(answer.accepted_count == 2, "{answer:?}");
        anyhow::Ok(true)
    };
    let request = used(today_hours[3], 10_000);
    deaths += system.die_at_each_commit(mortal, "usage is recorded", async || record(&request).await).await?;

    system.advance_to(today_hours[23] + SignedDuration::from_mins(75)).await?;
    deaths += system
        .die_at_each_commit(mortal, "the day is billed and metered", async || {
            let rows = system.billing_rows().await?;
            let billed = "SELECT COUNT(*) FROM site_day WHERE usage_day = 20260302 AND billed_at IS NOT NULL";
            // A record whose sender died while it was being sent is unknown from then on, and rightly so.
            let metered = "SELECT COUNT(*) FROM metering_record WHERE state NOT IN ('pending', 'sending')";
            Ok(rows.number(billed).await? > 0 && rows.number(metered).await? > 0)
        })
        .await?;

    let next = hours(today.next(), "Asia/Shanghai")?;
    system.advance_to(next[10]).await?;
    record(&used(next[8], 20_000)).await?;
    system
        .eventually("the usage before the end is delivered", async || {
            let sql = "SELECT COUNT(*) FROM usage_day WHERE usage_day = 20260303";
            Ok((system.billing_rows().await?.number(sql).await? == 2).then_some(()))
        })
        .await?;
    system.sandbox.release(&purchase.instance_id, false)?;
    deaths += system
        .die_at_each_commit(mortal, "the cancellation is whole", async || {
            let rows = system.billing_rows().await?;
            let metered = "SELECT COUNT(*) FROM metering_record WHERE final AND state NOT IN ('pending', 'sending')";
            let method = format!(
                "SELECT COUNT(*) FROM workspace_standing WHERE workspace_id = '{}' AND settlement_method = {}",
                cloud.workspace,
                i32::from(SettlementMethod::BillingCenter)
            );
            let told = system.console_rows().await?.number(&method).await?;
            Ok(rows.number(metered).await? > 0 && told > 0)
        })
        .await?;

    println!("{} died {deaths} times", mortal.name());
    ensure!(deaths >= 6, "only {deaths} deaths: this proves nothing");
    system.finish_day("cn1", today.next()).await?;
    let told = async || {
        let mails = system.mails_to(&customer.email)?;
        anyhow::Ok(mails.iter().filter(|mail| mail.text.contains(&purchase.account_id)).count())
    };
    system.eventually("the customer is told", async || Ok((told().await? > 0).then_some(()))).await?;
    ensure!(told().await? == 1, "I-29: told {} times", told().await?);
    let history = system.history(&cloud.workspace).await?;
    ensure!(history.len() == 2, "{history:?}");
    for paid in [&cloud, &direct] {
        let billed = system.bills(&paid.account).await?.iter().map(payable).sum::<i64>();
        ensure!(billed == 300, "I-12: {billed} was billed for 30 000 calls");
    }
    system.check_converged().await
}
