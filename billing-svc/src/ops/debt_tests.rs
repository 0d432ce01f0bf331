//! The life of a debt on both engines: mails, locks, unlocks, links and the end of a workspace.

use jiff::SignedDuration;
use sea_orm::Value;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::item::BillingItem::Trigger;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::WorkspaceStanding;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::mail::Mail;

use crate::domain::standing::{LockCause, Remedy, Standing};
use crate::ops::{dissolve_workspace, stand, view_debt};
use crate::store::read;
use crate::store::workspace::{self, Workspace};
use crate::testing::{Bench, at, both};

/// The mails in the outbox whose subject holds a word, in the order of their writing.
async fn mails(bench: &Bench, word: &str) -> Vec<Mail> {
    let text = "SELECT payload FROM outbox WHERE topic = 'mail' ORDER BY id";
    let rows = read::all(&bench.db.read, text, []).await.unwrap();
    let mail = |row: &sea_orm::QueryResult| -> Mail {
        serde_json::from_slice(&row.try_get::<Vec<u8>>("", "payload").unwrap()).unwrap()
    };
    rows.iter().map(mail).filter(|mail| mail.subject.contains(word)).collect()
}

async fn found(bench: &Bench, id: &WorkspaceId) -> Workspace {
    workspace::find(&bench.db.read, id).await.unwrap().unwrap()
}

async fn unlock(bench: &Bench, id: &WorkspaceId, forced: bool) -> Result<Workspace, Fault> {
    let tx = bench.db.begin().await.unwrap();
    let done = stand::unlock(&tx, &bench.ctx, id, forced, bench.ctx.clock.now()).await;
    match done {
        Ok((unlocked, _)) => {
            tx.commit().await.unwrap();
            Ok(unlocked)
        }
        Err(fault) => {
            tx.rollback().await;
            Err(fault)
        }
    }
}

async fn dissolve(bench: &Bench, id: &WorkspaceId) -> Workspace {
    let tx = bench.db.begin().await.unwrap();
    let now = bench.ctx.clock.now();
    let dissolved = dissolve_workspace::run(&tx, &bench.ctx, id, now).await.unwrap();
    tx.commit().await.unwrap();
    dissolved
}

/// One round of what runs by time.
async fn time_passes(bench: &Bench) {
    use crate::domain::job::Job;
    for job in [Job::Standing, Job::Reminders, Job::Expiry] {
        super::jobs::run(&bench.ctx, job, bench.ctx.clock.now()).await.unwrap();
    }
}

async fn indebted(bench: &Bench, names: &[&str]) -> (tandem_proto::ids::BillingAccountId, Vec<WorkspaceId>) {
    let account = bench.account("alice").await;
    let mut ids = Vec::new();
    for name in names {
        let id = bench.workspace(&account, name).await;
        bench.deliver(&id, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        ids.push(id);
    }
    bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
    bench.bill("2026-03-01").await;
    (account, ids)
}

/// When several warnings have come at once only the last one is sent, and it says how much time is really left; after the
/// end there is nothing to warn of any more.
#[tokio::test]
async fn a_clock_that_jumps_sends_only_what_still_makes_sense() {
    for bench in both("debt_jump").await {
        indebted(&bench, &["shop"]).await;
        assert_eq!(mails(&bench, "in arrears").await.len(), 1);
        bench.pass(SignedDuration::from_hours(12 * 24));
        time_passes(&bench).await;
        let warned = mails(&bench, "will be locked").await;
        assert_eq!(warned.len(), 2, "one to the account, one to the owner: {warned:?}");
        assert!(warned[0].subject.contains("in 2 days"), "{warned:?}");
        assert!(warned[0].text.contains("2026-03-16 00:10 (Asia/Shanghai)"), "{warned:?}");
        assert!(warned[0].text.contains("https://tandem.example/unlock/"), "{warned:?}");
        // The warnings of 7 and 3 days before are past; that of 1 day before is not.
        bench.pass(SignedDuration::from_hours(25));
        time_passes(&bench).await;
        let warned = mails(&bench, "will be locked").await;
        assert_eq!(warned.len(), 4);
        assert!(warned[2].subject.contains("within a day"), "{warned:?}");
        bench.pass(SignedDuration::from_hours(40 * 24));
        time_passes(&bench).await;
        assert_eq!(mails(&bench, "will be locked").await.len(), 4);
        assert_eq!(mails(&bench, "have been locked").await.len(), 2);
    }
}

/// More workspaces than fit into one transaction, on a clock that stands still: each is named once.
#[tokio::test]
async fn a_large_account_is_told_of_every_workspace() {
    for bench in both("debt_large").await {
        let names: Vec<String> = (0..450).map(|n| format!("w{n:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        indebted(&bench, &names).await;
        bench.run("UPDATE workspace SET owner_email = 'alice@acme.test'", []).await;
        bench.pass(SignedDuration::from_hours(13 * 24 + 1));
        time_passes(&bench).await;
        assert_eq!(mails(&bench, "will be locked").await.len(), 3);
        bench.pass(SignedDuration::from_hours(24));
        time_passes(&bench).await;
        assert_eq!(mails(&bench, "have been locked").await.len(), 3);
        assert_eq!(bench.number("SELECT COUNT(*) FROM workspace WHERE standing = 'locked'").await, 450);
    }
}

/// 5.2, 5.6, D7: paying ends a countdown by itself; what is locked waits for an operator, who may not before it is paid.
#[tokio::test]
async fn an_operator_unlocks_once_nothing_is_owed() {
    for bench in both("debt_unlock").await {
        let (account, ids) = indebted(&bench, &["shop"]).await;
        let shop = &ids[0];
        assert_eq!(unlock(&bench, shop, false).await.unwrap_err().reason, Reason::DebtOpen);
        bench.pass(SignedDuration::from_hours(14 * 24));
        time_passes(&bench).await;
        assert_eq!(found(&bench, shop).await.standing.state, WorkspaceStanding::Locked);
        assert_eq!(unlock(&bench, shop, false).await.unwrap_err().reason, Reason::DebtOpen);
        bench.recharge(&account, 100).await;
        assert_eq!(found(&bench, shop).await.standing.state, WorkspaceStanding::Locked);
        assert_eq!(mails(&bench, "nothing is owed").await.len(), 2, "told what is left to do");
        let unlocked = unlock(&bench, shop, false).await.unwrap();
        assert_eq!(unlocked.standing, Standing::ACTIVE);
        assert_eq!(found(&bench, shop).await, unlocked);
        assert_eq!(unlock(&bench, shop, false).await.unwrap_err().reason, Reason::WorkspaceNotLocked);
        assert_eq!(mails(&bench, "in full use").await.len(), 2);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_forced_unlock_gives_14_days_and_a_payment_in_them_ends_it() {
    for bench in both("debt_forced").await {
        let (account, ids) = indebted(&bench, &["shop", "cafe"]).await;
        bench.pass(SignedDuration::from_hours(14 * 24));
        time_passes(&bench).await;
        let grace = unlock(&bench, &ids[0], true).await.unwrap();
        let now = bench.ctx.clock.now();
        assert_eq!(grace.standing.lock_at, Some(now + SignedDuration::from_hours(14 * 24)));
        assert_eq!(mails(&bench, "in 14 days").await.len(), 2);
        bench.recharge(&account, 1_000).await;
        assert_eq!(found(&bench, &ids[0]).await.standing, Standing::ACTIVE);
        assert_eq!(found(&bench, &ids[1]).await.standing.state, WorkspaceStanding::Locked);
        bench.prove().await;
    }
}

/// A workspace that comes under a debt when its 14 days are long over is not locked in the same breath.
#[tokio::test]
async fn who_comes_under_an_old_debt_is_warned_first() {
    for bench in both("debt_late").await {
        let (account, ids) = indebted(&bench, &["shop"]).await;
        bench.pass(SignedDuration::from_hours(30 * 24));
        time_passes(&bench).await;
        let now = bench.ctx.clock.now();
        let late = bench.workspace(&account, "late").await;
        let tx = bench.db.begin().await.unwrap();
        let locked = workspace::lock(&tx, std::slice::from_ref(&late)).await.unwrap().remove(0);
        let since = at("2026-03-01T16:10:00Z");
        let standing = locked.standing.join_arrears(since, now).unwrap();
        stand::change(&tx, &[(locked, standing)], now).await.unwrap();
        tx.commit().await.unwrap();
        let before = mails(&bench, "will be locked").await.len();
        time_passes(&bench).await;
        assert_eq!(found(&bench, &late).await.standing.state, WorkspaceStanding::LockCountdown);
        assert_eq!(mails(&bench, "in 3 days").await.len(), 2);
        assert_eq!(mails(&bench, "will be locked").await.len(), before + 2);
        assert_eq!(found(&bench, &ids[0]).await.standing.state, WorkspaceStanding::Locked);
    }
}

/// 5.3: the last day is billed, also what is delivered after the end; then nothing is bound any more.
#[tokio::test]
async fn a_dissolved_workspace_is_billed_for_its_last_day() {
    for bench in both("debt_dissolve").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        bench.recharge(&account, 1_000).await;
        bench.deliver(&shop, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        bench.clock.advance_to(at("2026-03-01T10:00:00Z"));
        let dissolved = dissolve(&bench, &shop).await;
        assert_eq!(dissolved.standing.state, WorkspaceStanding::Dissolved);
        assert_eq!(dissolve(&bench, &shop).await, dissolved, "a second time changes nothing");
        assert_eq!(mails(&bench, "dissolved").await.len(), 2);
        let open = "SELECT COUNT(*) FROM workspace_binding WHERE effective_to IS NULL";
        assert_eq!(bench.number(open).await, 0);
        bench.deliver(&shop, "2026-03-01", 2, &[(Trigger, 0, 30_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        assert_eq!(bench.bill("2026-03-01").await, 1);
        assert_eq!(bench.number("SELECT payable FROM daily_bill").await, 300);
        assert_eq!(unlock(&bench, &shop, true).await.unwrap_err().reason, Reason::WorkspaceDissolved);
        let told = "SELECT COUNT(*) FROM feed_event WHERE payload LIKE '%dissolved%'";
        assert_eq!(bench.number(told).await, 1);
        bench.prove().await;
    }
}

/// A cloud that is still in use takes the last day of a workspace that was dissolved on it.
#[tokio::test]
async fn a_dissolved_workspace_s_last_day_goes_to_its_cloud() {
    for bench in both("debt_cloud").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        bench.settle_by_cloud(&account, &[&shop]).await;
        bench.deliver(&shop, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        bench.clock.advance_to(at("2026-03-01T10:00:00Z"));
        dissolve(&bench, &shop).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(bench.number("SELECT COUNT(*) FROM metering_record WHERE amount = 100").await, 1);
    }
}

/// Dissolving in debt keeps the debt; the account's other workspaces count down for it.
#[tokio::test]
async fn a_debt_outlives_the_workspace_that_made_it() {
    for bench in both("debt_outlives").await {
        let (account, ids) = indebted(&bench, &["shop", "cafe"]).await;
        dissolve(&bench, &ids[0]).await;
        bench.pass(SignedDuration::from_hours(14 * 24));
        time_passes(&bench).await;
        assert_eq!(found(&bench, &ids[0]).await.standing.state, WorkspaceStanding::Dissolved);
        assert_eq!(found(&bench, &ids[1]).await.standing.state, WorkspaceStanding::Locked);
        let debt = view_debt::of_account(&bench.db.read, &account).await.unwrap();
        assert_eq!((debt.owed.minor, debt.owed_bills, debt.workspace_count), (200, 2, 1));
        assert_eq!(debt.workspaces[0].remedies, [Remedy::Recharge, Remedy::Operator]);
        let alone = view_debt::of_workspace(&bench.db.read, &ids[0]).await.unwrap();
        assert_eq!((alone.owed.minor, alone.workspaces.len()), (200, 1));
        assert!(alone.workspaces[0].remedies.is_empty());
        bench.recharge(&account, 200).await;
        dissolve(&bench, &ids[1]).await;
        bench.prove().await;
    }
}

/// A purchase that is in use again ends the countdown that its suspension had started, but never a lock (D7).
#[tokio::test]
async fn what_a_frozen_purchase_has_locked_an_operator_opens_too() {
    for bench in both("debt_frozen").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        let subscription = bench.settle_by_cloud(&account, &[&shop]).await;
        let tx = bench.db.begin().await.unwrap();
        let now = bench.ctx.clock.now();
        let locked = workspace::lock(&tx, std::slice::from_ref(&shop)).await.unwrap().remove(0);
        let standing = locked.standing.count_down(LockCause::Subscription, now).unwrap();
        stand::change(&tx, &[(locked, standing)], now).await.unwrap();
        tx.commit().await.unwrap();
        bench.pass(SignedDuration::from_hours(14 * 24));
        time_passes(&bench).await;
        let freeze = |state: &str| -> [Value; 2] { [state.into(), subscription.as_str().into()] };
        bench.run("UPDATE subscription SET state = ? WHERE id = ?", freeze("suspended")).await;
        assert_eq!(unlock(&bench, &shop, false).await.unwrap_err().reason, Reason::DebtOpen);
        bench.run("UPDATE subscription SET state = ? WHERE id = ?", freeze("active")).await;
        assert_eq!(unlock(&bench, &shop, false).await.unwrap().standing, Standing::ACTIVE);
    }
}

#[tokio::test]
async fn a_link_opens_for_its_time_and_nothing_else_does() {
    for bench in both("debt_link").await {
        let now = bench.ctx.clock.now();
        let link = bench.ctx.links.unlock("wks_x", SignedDuration::from_hours(1), now);
        assert_eq!(link.url, format!("https://tandem.example/unlock/{}", link.token));
        let (subject, until) = bench.ctx.links.open_unlock(&link.token, now).unwrap();
        assert_eq!((subject.as_str(), until), ("wks_x", now + SignedDuration::from_hours(1)));
        let refused = |token: &str, at| bench.ctx.links.open_unlock(token, at).unwrap_err().reason;
        assert_eq!(refused(&link.token, until), Reason::LinkInvalid);
        assert_eq!(refused("", now), Reason::LinkInvalid);
        assert_eq!(refused(&link.token[1..], now), Reason::LinkInvalid);
    }
}
