//! Acts that take two people, on both engines.

use std::sync::Arc;

use jiff::SignedDuration;
use tandem_proto::ids::{ApprovalId, BillingAccountId, RechargeId, WorkspaceId};
use tandem_proto::item::BillingItem::Trigger;
use tandem_proto::money::{Currency, Money};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use super::{decide_approval, end_grace, request_approval, stand};
use crate::context::Context;
use crate::domain::approval::{Act, Approval, ApprovalState, Decision};
use crate::domain::wallet::LotKind;
use crate::store::read::{self, Row};
use crate::store::workspace;
use crate::testing::{Bench, at, both};

fn cny(minor: i64) -> Money {
    Money { minor, currency: Currency::Cny }
}

async fn ask(bench: &Bench, account: &BillingAccountId, act: Act) -> Result<Approval, Fault> {
    let now = bench.ctx.clock.now();
    let tx = bench.db.begin().await.unwrap();
    let made = request_approval::run(&tx, account, act, "a slip".into(), "ann", now).await?;
    tx.commit().await.unwrap();
    Ok(made)
}

async fn decide(ctx: &Context, id: &ApprovalId, decision: Decision, by: &str) -> Result<Approval, Reason> {
    let now = ctx.clock.now();
    let tx = ctx.db.begin().await.map_err(|error| Fault::from(error).reason)?;
    let note = String::from("seen");
    let decided = decide_approval::run(&tx, ctx, id, decision, by, note, now).await.map_err(|f| f.reason)?;
    tx.commit().await.map_err(|error| Fault::from(error).reason)?;
    Ok(decided)
}

async fn approve(bench: &Bench, made: &Approval) -> Result<Approval, Reason> {
    decide(&bench.ctx, &made.id, Decision::Approve, "bob").await
}

async fn cash(bench: &Bench, account: &BillingAccountId) -> (i64, i64) {
    let wallet = bench.wallet(account).await;
    (wallet.total(LotKind::Cash), wallet.overdraft())
}

async fn only_recharge(bench: &Bench) -> RechargeId {
    let row = read::one(&bench.db.read, "SELECT id FROM recharge", []).await.unwrap().unwrap();
    Row(&row, "recharge").parse("id").unwrap()
}

async fn standing(bench: &Bench, id: &WorkspaceId) -> (String, Option<jiff::Timestamp>) {
    let found = workspace::find(&bench.db.read, id).await.unwrap().unwrap().standing;
    (found.state.name().to_owned(), found.lock_at)
}

/// An account that owes 25.00 since 2026-03-01T16:10Z, and its workspace.
async fn debtor(bench: &Bench) -> (BillingAccountId, WorkspaceId) {
    let account = bench.account("alice").await;
    let workspace = bench.workspace(&account, "prod").await;
    bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 250_000)]).await;
    bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
    bench.bill("2026-03-01").await;
    assert_eq!(cash(bench, &account).await, (0, -2_500));
    (account, workspace)
}

#[tokio::test]
async fn nothing_moves_before_a_second_person_and_then_once() {
    for bench in both("approve").await {
        let account = bench.account("alice").await;
        let made = ask(&bench, &account, Act::Credit(cny(700))).await.unwrap();
        assert_eq!(cash(&bench, &account).await, (0, 0));
        let own = decide(&bench.ctx, &made.id, Decision::Approve, "ann").await;
        assert_eq!(own.unwrap_err(), Reason::ApproverIsRequester);
        let foreign = decide(&bench.ctx, &made.id, Decision::Withdraw, "bob").await;
        assert_eq!(foreign.unwrap_err(), Reason::NotRequester);
        assert_eq!(cash(&bench, &account).await, (0, 0));
        let done = approve(&bench, &made).await.unwrap();
        assert_eq!((done.state, done.decided_by.as_deref()), (ApprovalState::Executed, Some("bob")));
        assert_eq!(cash(&bench, &account).await, (700, 0));
        assert_eq!(approve(&bench, &made).await.unwrap_err(), Reason::ApprovalNotOpen);
        assert_eq!(cash(&bench, &account).await, (700, 0));
        let debit = ask(&bench, &account, Act::Debit(cny(200))).await.unwrap();
        approve(&bench, &debit).await.unwrap();
        assert_eq!(cash(&bench, &account).await, (500, 0));
        assert_eq!(
            bench.number("SELECT COUNT(*) FROM outbox WHERE topic = 'mail'").await,
            2,
            "both are told"
        );
        let ours = "SELECT balance FROM ledger_account WHERE kind = 'adjustment'";
        assert_eq!(bench.number(ours).await, -500);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_rejected_or_withdrawn_or_late_request_is_never_done() {
    for bench in both("approve_closed").await {
        let account = bench.account("alice").await;
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(ask(&bench, &account, Act::Credit(cny(700))).await.unwrap());
        }
        decide(&bench.ctx, &asked[0].id, Decision::Reject, "bob").await.unwrap();
        decide(&bench.ctx, &asked[1].id, Decision::Withdraw, "ann").await.unwrap();
        bench.pass(SignedDuration::from_hours(72));
        for made in &asked {
            assert_eq!(approve(&bench, made).await.unwrap_err(), Reason::ApprovalNotOpen);
        }
        assert_eq!(cash(&bench, &account).await, (0, 0));
        let listed = |state| {
            let filter = crate::store::approval::Filter { billing_account: None, state: Some(state) };
            let (db, now) = (bench.db.clone(), bench.ctx.clock.now());
            async move { crate::store::approval::list(&db.read, &filter, &[], 10, now).await.unwrap().len() }
        };
        assert_eq!(listed(ApprovalState::Expired).await, 1);
        assert_eq!(listed(ApprovalState::Rejected).await, 1);
        assert_eq!(listed(ApprovalState::Withdrawn).await, 1);
        assert_eq!(listed(ApprovalState::Waiting).await, 0);
        assert_eq!(listed(ApprovalState::Executed).await, 0);
        bench.prove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_approvers_at_once_one_does_it() {
    for bench in both("approve_race").await {
        let account = bench.account("alice").await;
        let made = ask(&bench, &account, Act::Credit(cny(700))).await.unwrap();
        let racers = (0..8).map(|n| {
            let (ctx, id) = (Arc::clone(&bench.ctx), made.id.clone());
            tokio::spawn(async move { decide(&ctx, &id, Decision::Approve, &format!("op{n}")).await })
        });
        let mut done = 0;
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                Ok(_) => done += 1,
                Err(reason) => {
                    assert!(matches!(reason, Reason::ApprovalNotOpen | Reason::Conflict), "{reason:?}");
                }
            }
        }
        assert_eq!(done, 1);
        assert_eq!(cash(&bench, &account).await, (700, 0));
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_refund_takes_what_is_left_of_its_recharge_and_books_its_payment_once() {
    for bench in both("refund").await {
        let account = bench.account("alice").await;
        bench.recharge(&account, 1_000).await;
        let recharge = only_recharge(&bench).await;
        let refund = |minor, reference: &str| Act::Refund {
            recharge: recharge.clone(),
            amount: cny(minor),
            external_ref: reference.to_owned(),
        };
        let reason = |outcome: Result<Approval, Fault>| outcome.unwrap_err().reason;
        assert_eq!(reason(ask(&bench, &account, refund(1_001, "out-1")).await), Reason::BalanceInsufficient);
        let first = ask(&bench, &account, refund(600, "out-1")).await.unwrap();
        let same = ask(&bench, &account, refund(300, "out-1")).await.unwrap();
        let much = ask(&bench, &account, refund(500, "out-2")).await.unwrap();
        approve(&bench, &first).await.unwrap();
        assert_eq!(cash(&bench, &account).await, (400, 0));
        // The reference and the money are gone meanwhile: refused cleanly, and nothing moves.
        assert_eq!(approve(&bench, &same).await.unwrap_err(), Reason::ExternalRefUsed);
        assert_eq!(approve(&bench, &much).await.unwrap_err(), Reason::BalanceInsufficient);
        assert_eq!(cash(&bench, &account).await, (400, 0));
        assert_eq!(bench.number("SELECT COUNT(*) FROM approval WHERE state = 'waiting'").await, 2);
        let out = "SELECT balance FROM ledger_account WHERE kind = 'funding'";
        assert_eq!(bench.number(out).await, -400);
        // Somebody else's recharge is nothing that exists here.
        let bob = bench.account("bob").await;
        assert_eq!(reason(ask(&bench, &bob, refund(1, "out-3")).await), Reason::ObjectNotFound);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_debit_finds_no_more_than_there_is_and_another_currency_is_refused() {
    for bench in both("debit").await {
        let account = bench.account("alice").await;
        bench.recharge(&account, 300).await;
        let made = ask(&bench, &account, Act::Debit(cny(300))).await.unwrap();
        let other = ask(&bench, &account, Act::Debit(cny(1))).await.unwrap();
        approve(&bench, &other).await.unwrap();
        assert_eq!(approve(&bench, &made).await.unwrap_err(), Reason::BalanceInsufficient);
        assert_eq!(cash(&bench, &account).await, (299, 0));
        let dollars = Act::Credit(Money { minor: 1, currency: Currency::Usd });
        let refused = ask(&bench, &account, dollars).await.unwrap_err();
        assert_eq!(refused.reason, Reason::CurrencyMismatch);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_credit_repays_the_debt_first_and_ends_the_arrears() {
    for bench in both("credit_debt").await {
        let (account, workspace) = debtor(&bench).await;
        assert_eq!(standing(&bench, &workspace).await.0, "lock_countdown");
        let made = ask(&bench, &account, Act::Credit(cny(3_000))).await.unwrap();
        approve(&bench, &made).await.unwrap();
        assert_eq!(cash(&bench, &account).await, (500, 0));
        assert_eq!(standing(&bench, &workspace).await, ("active".to_owned(), None));
        assert_eq!(bench.number("SELECT COUNT(*) FROM daily_bill WHERE state = 'paid'").await, 1);
        bench.prove().await;
    }
}

/// The debt stays; when the days are over a new countdown of 14 days starts from that instant.
#[tokio::test]
async fn a_forced_unlock_gives_days_and_then_a_new_countdown() {
    for bench in both("unlock").await {
        let (account, workspace) = debtor(&bench).await;
        bench.clock.advance_to(at("2026-03-15T16:10:00Z"));
        let now = || bench.ctx.clock.now();
        stand::set_overdue(&bench.ctx, now()).await.unwrap();
        stand::lock_due(&bench.ctx, now()).await.unwrap();
        assert_eq!(standing(&bench, &workspace).await.0, "locked");
        let unlock = Act::Unlock { workspace: None, grace_days: 5 };
        let made = ask(&bench, &account, unlock.clone()).await.unwrap();
        approve(&bench, &made).await.unwrap();
        assert_eq!(standing(&bench, &workspace).await, ("active".to_owned(), None));
        assert_eq!(cash(&bench, &account).await, (0, -2_500), "nothing was forgiven");
        assert_eq!(
            bench.number("SELECT COUNT(*) FROM billing_account WHERE standing = 'overdue'").await,
            1,
            "the account still owes"
        );
        let told = "SELECT COUNT(*) FROM feed_event WHERE payload LIKE '%\"standing\":\"active\"%'";
        assert_eq!(bench.number(told).await, 1);
        let mails = "SELECT COUNT(*) FROM outbox WHERE topic = 'mail'";
        let before = bench.number(mails).await;
        let again = ask(&bench, &account, unlock).await.unwrap_err();
        assert_eq!(again.reason, Reason::NothingToUnlock);

        bench.clock.advance_to(at("2026-03-20T16:09:59Z"));
        assert_eq!(end_grace::run(&bench.ctx, now()).await, Ok(0));
        bench.pass(SignedDuration::from_secs(1));
        assert_eq!(end_grace::run(&bench.ctx, now()).await, Ok(1));
        assert_eq!(end_grace::run(&bench.ctx, now()).await, Ok(0));
        let deadline = at("2026-04-03T16:10:00Z");
        assert_eq!(standing(&bench, &workspace).await, ("lock_countdown".to_owned(), Some(deadline)));
        assert_eq!(bench.number(mails).await, before + 1, "the new countdown is told");
        bench.clock.advance_to(deadline);
        stand::lock_due(&bench.ctx, now()).await.unwrap();
        assert_eq!(standing(&bench, &workspace).await.0, "locked");
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_debt_that_is_paid_during_the_grace_starts_no_countdown() {
    for bench in both("unlock_paid").await {
        let (account, workspace) = debtor(&bench).await;
        let unlock = Act::Unlock { workspace: Some(workspace.clone()), grace_days: 2 };
        let made = ask(&bench, &account, unlock).await.unwrap();
        approve(&bench, &made).await.unwrap();
        let mails = "SELECT COUNT(*) FROM outbox WHERE topic = 'mail'";
        bench.recharge(&account, 2_500).await;
        bench.pass(SignedDuration::from_hours(48));
        let before = bench.number(mails).await;
        assert_eq!(end_grace::run(&bench.ctx, bench.ctx.clock.now()).await, Ok(1));
        assert_eq!(standing(&bench, &workspace).await, ("active".to_owned(), None));
        assert_eq!(bench.number(mails).await, before);
        // What nobody holds cannot be unlocked, and neither can somebody else's.
        let bob = bench.account("bob").await;
        for (who, reason) in [(&account, Reason::NothingToUnlock), (&bob, Reason::ObjectNotFound)] {
            let act = Act::Unlock { workspace: Some(workspace.clone()), grace_days: 2 };
            assert_eq!(ask(&bench, who, act).await.unwrap_err().reason, reason);
        }
        bench.prove().await;
    }
}

/// The tables hold the rule as well, whatever the code does.
#[tokio::test]
async fn the_database_refuses_a_decision_by_the_requester() {
    for bench in both("approve_check").await {
        let account = bench.account("alice").await;
        ask(&bench, &account, Act::Credit(cny(1))).await.unwrap();
        let tx = bench.db.begin().await.unwrap();
        let text = "UPDATE approval SET state = 'executed', decided_by = 'ann', decided_at = 1";
        assert!(tx.run(text, []).await.is_err());
    }
}
