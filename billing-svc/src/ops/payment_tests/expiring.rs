//! Mails before vouchers and cards expire.

use jiff::SignedDuration;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{Currency, Money};

use crate::ops::wallet_acts::Act;
use crate::ops::warn_expiring;
use crate::testing::{Bench, at, both, day};

async fn grant(bench: &Bench, account: &BillingAccountId, minor: i64, last_day: UsageDay) {
    let act = Act::GrantVoucher {
        face: Money { minor, currency: Currency::Cny },
        min_spend: 0,
        valid_from: at("2026-01-01T00:00:00Z"),
        last_day,
        note: "welcome".into(),
    };
    bench.act(account, act).await.unwrap();
}

/// Every mail so far: recipient and text, oldest first.
async fn mails(bench: &Bench) -> Vec<(String, String)> {
    let text = "SELECT payload FROM outbox ORDER BY id";
    let rows = crate::store::read::all(&bench.db.read, text, []).await.unwrap();
    let mails = rows.iter().map(|row| {
        let payload: Vec<u8> = row.try_get_by_index(0).unwrap();
        let mail: tandem_service_kit::mail::Mail = serde_json::from_slice(&payload).unwrap();
        (mail.to, mail.text)
    });
    mails.collect()
}

async fn look(bench: &Bench) -> usize {
    warn_expiring::run(&bench.ctx, bench.ctx.clock.now()).await.unwrap()
}

#[tokio::test]
async fn credit_is_told_of_seven_days_and_one_day_before_once_each() {
    for bench in both("expiring").await {
        let (alice, bob) = (bench.account("alice").await, bench.account("bob").await);
        bench.run("UPDATE billing_account SET language = 'zh' WHERE id = ?", [bob.as_str().into()]).await;
        grant(&bench, &alice, 1_250, day("2026-03-31")).await;
        grant(&bench, &alice, 700, day("2026-03-31")).await;
        grant(&bench, &alice, 900, day("2026-05-31")).await;
        grant(&bench, &bob, 4_200, day("2026-04-01")).await;
        bench.recharge(&alice, 100).await;

        // Days are Shanghai's: 16:00 UTC is its midnight.
        bench.clock.advance_to(at("2026-03-23T15:59:59Z"));
        assert_eq!(look(&bench).await, 0);
        bench.clock.advance_to(at("2026-03-23T16:00:00Z"));
        assert_eq!(look(&bench).await, 2);
        assert_eq!(look(&bench).await, 0, "once");
        let sent = mails(&bench).await;
        assert_eq!(sent.len(), 1, "one mail for an account");
        assert_eq!(sent[0].0, "alice@acme.test");
        for value in ["12.50 CNY", "7.00 CNY", "2026-03-31"] {
            assert!(sent[0].1.contains(value), "{value} is missing in {}", sent[0].1);
        }
        assert!(!sent[0].1.contains("2026-05-31"), "{}", sent[0].1);

        bench.pass(SignedDuration::from_hours(24));
        assert_eq!(look(&bench).await, 1);
        let sent = mails(&bench).await;
        assert!(sent[1].0 == "bob@acme.test" && sent[1].1.contains("代金券"), "{sent:?}");

        // What was used up meanwhile is nothing to tell of.
        bench.run("UPDATE lot SET is_open = false WHERE face = 700", []).await;
        bench.clock.advance_to(at("2026-03-29T16:00:00Z"));
        assert_eq!(look(&bench).await, 1);
        let sent = mails(&bench).await;
        assert!(sent.len() == 3 && !sent[2].1.contains("7.00 CNY"), "{sent:?}");
        bench.clock.advance_to(at("2026-03-31T16:00:00Z"));
        assert_eq!(look(&bench).await, 1, "bob's second one");
        bench.clock.advance_to(at("2026-04-10T00:00:00Z"));
        assert_eq!(look(&bench).await, 0);
        assert_eq!(mails(&bench).await.len(), 4);
    }
}

#[tokio::test]
async fn after_days_without_a_look_the_nearest_warning_is_sent_alone() {
    for bench in both("expiring_late").await {
        let account = bench.account("alice").await;
        grant(&bench, &account, 1_250, day("2026-03-31")).await;
        bench.clock.advance_to(at("2026-03-30T02:00:00Z"));
        assert_eq!(look(&bench).await, 1);
        assert_eq!(look(&bench).await, 0);
        assert_eq!(mails(&bench).await.len(), 1);
        // Given for a few days: told of on the day before, not at once.
        grant(&bench, &account, 300, day("2026-04-03")).await;
        look(&bench).await;
        assert_eq!(mails(&bench).await.len(), 1);
        bench.clock.advance_to(at("2026-04-02T02:00:00Z"));
        look(&bench).await;
        assert_eq!(mails(&bench).await.len(), 2);
    }
}
