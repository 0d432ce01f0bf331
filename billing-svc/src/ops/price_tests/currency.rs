//! Changing an account's currency: nothing open, nothing converted.

use tandem_proto::ids::BillingAccountId;
use tandem_proto::item::BillingItem::{Sms, Trigger};
use tandem_proto::money::{Currency, Money};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use super::{end_of, hours, lines};
use crate::ops::create_recharge::create_recharge;
use crate::ops::set_currency::{self, Changed};
use crate::ops::wallet_acts::Act;
use crate::store::recharge::RechargeChannel;
use crate::testing::{Bench, at, both, day};

async fn set(bench: &Bench, account: &BillingAccountId, currency: Currency) -> Result<Changed, Fault> {
    let tx = bench.db.begin().await.unwrap();
    let changed = set_currency::run(&tx, account, currency, bench.ctx.clock.now()).await;
    match changed {
        Ok(changed) => {
            tx.commit().await.unwrap();
            Ok(changed)
        }
        Err(fault) => {
            tx.rollback().await;
            Err(fault)
        }
    }
}

/// The names of what is in the way of a change to USD.
async fn in_the_way(bench: &Bench, account: &BillingAccountId) -> Vec<String> {
    let fault = set(bench, account, Currency::Usd).await.err().unwrap();
    assert_eq!(fault.reason, Reason::CurrencyInUse);
    assert_eq!(fault.fields.len(), fault.metadata.len());
    fault.metadata.into_iter().map(|(name, _)| name).collect()
}

async fn recharge(bench: &Bench, account: &BillingAccountId, amount: Money) {
    let now = bench.ctx.clock.now();
    let tx = bench.db.begin().await.unwrap();
    let made =
        create_recharge(&tx, account, amount, RechargeChannel::BankTransfer, false, now).await.unwrap();
    tx.commit().await.unwrap();
    let external_ref = made.id.as_str().to_owned();
    bench.act(account, Act::ConfirmRecharge { id: made.id, external_ref }).await.unwrap();
}

/// The whole way: debts and money in one currency, then in the other, then in the first again; the ledger stays sound
/// and each bill keeps its own.
#[tokio::test]
async fn bills_come_in_the_new_currency_from_the_next_unbilled_day_on() {
    for bench in both("currency").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 50_000)]).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        assert_eq!(in_the_way(&bench, &account).await, ["overdraft", "open_bills"]);
        bench.recharge(&account, 500).await;
        bench.deliver(&workspace, "2026-03-02", 1, &[(Trigger, 0, 20_000)]).await;
        let changed = set(&bench, &account, Currency::Usd).await.unwrap();
        assert_eq!((changed.account.currency, changed.first_day), (Currency::Usd, day("2026-03-02")));
        // Late for the day in CNY: at the new currency's price in that day's list, and nothing is converted.
        bench.deliver(&workspace, "2026-03-01", 2, &[(Trigger, 0, 60_000)]).await;
        end_of(&bench, "2026-03-02");
        bench.bill("2026-03-02").await;
        let amounts: Vec<_> =
            lines(&bench, &account, "2026-03-02").await.iter().map(|l| l.amount.to_string()).collect();
        assert_eq!(amounts, ["0.28 USD", "0.14 USD"]);
        assert_eq!(bench.wallet(&account).await.overdraft(), -42);
        let usd = |minor| Money { minor, currency: Currency::Usd };
        recharge(&bench, &account, usd(100)).await;
        assert_eq!(bench.wallet(&account).await.overdraft(), 0);
        bench.prove().await;
        let own = "SELECT COUNT(*) FROM ledger_account a WHERE EXISTS (SELECT 1 FROM ledger_entry e \
                   WHERE e.billing_account_id = a.billing_account_id AND e.account = a.account \
                   AND e.currency <> a.currency)";
        assert_eq!(bench.number(own).await, 0, "a ledger account has one currency");
        // What is left of the dollars has to be used up first.
        let fault = set(&bench, &account, Currency::Cny).await.err().unwrap();
        assert_eq!(fault.metadata, [("lots".to_owned(), "1".to_owned())]);
        bench.deliver(&workspace, "2026-03-03", 1, &[(Trigger, 0, 41_429)]).await;
        end_of(&bench, "2026-03-03");
        bench.bill("2026-03-03").await;
        set(&bench, &account, Currency::Cny).await.unwrap();
        bench.deliver(&workspace, "2026-03-04", 1, &[(Trigger, 0, 10_000)]).await;
        end_of(&bench, "2026-03-04");
        bench.bill("2026-03-04").await;
        assert_eq!(bench.wallet(&account).await.overdraft(), -100);
        bench.recharge(&account, 300).await;
        let bills = "SELECT COUNT(*) FROM daily_bill WHERE currency = 'CNY' AND state = 'paid'";
        assert_eq!(bench.number(bills).await, 2);
        bench.prove().await;
    }
}

#[tokio::test]
async fn everything_open_is_in_the_way_and_named() {
    for bench in both("in_the_way").await {
        // Money, promised money, and credit.
        let rich = bench.account("rich").await;
        bench.recharge(&rich, 500).await;
        let amount = Money { minor: 900, currency: Currency::Cny };
        let now = bench.ctx.clock.now();
        let tx = bench.db.begin().await.unwrap();
        let waiting =
            create_recharge(&tx, &rich, amount, RechargeChannel::BankTransfer, false, now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(in_the_way(&bench, &rich).await, ["lots", "open_recharges"]);
        // Should it be changed all the same, promised money is not taken for another currency's.
        bench.run("UPDATE billing_account SET currency = 'USD' WHERE username = 'rich'", []).await;
        let late = Act::ConfirmRecharge { id: waiting.id, external_ref: "bank".into() };
        assert_eq!(bench.act(&rich, late).await.unwrap_err().reason, Reason::CurrencyMismatch);
        // A purchase in a cloud's market, and its bill on the way.
        let cloudy = bench.account("cloudy").await;
        let workspace = bench.workspace(&cloudy, "prod").await;
        bench.settle_by_cloud(&cloudy, &[&workspace]).await;
        assert_eq!(in_the_way(&bench, &cloudy).await, ["live_purchases"]);
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 50_000)]).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        assert_eq!(in_the_way(&bench, &cloudy).await, ["open_bills", "live_purchases"]);
        bench.run("UPDATE daily_bill SET state = 'paid', paid = payable", []).await;
        bench.run("UPDATE subscription SET state = 'cancelled'", []).await;
        // A closed day that is not billed to its end, and a day that a final bill has begun.
        bench.clock.advance_to(at("2026-03-02T16:10:00Z"));
        let now = bench.ctx.clock.now();
        let tx = bench.db.begin().await.unwrap();
        crate::ops::close_day::close_day(&tx, "cn1", day("2026-03-02"), "Asia/Shanghai", now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(in_the_way(&bench, &cloudy).await, ["closed_days"]);
        bench.run("UPDATE daily_bill SET kind = 'final', usage_day = 20260303", []).await;
        assert_eq!(in_the_way(&bench, &cloudy).await, ["closed_days", "begun_days"]);
        bench.run("UPDATE daily_bill SET kind = 'daily', usage_day = 20260301", []).await;
        bench.bill("2026-03-02").await;
        set(&bench, &cloudy, Currency::Usd).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_used_must_be_sold_in_the_new_currency() {
    for bench in both("not_sold").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 10_000), (Sms, 0, 10)]).await;
        let fault = set(&bench, &account, Currency::Usd).await.err().unwrap();
        assert_eq!(fault.reason, Reason::PriceMissing);
        assert_eq!(fault.fields, [("currency_code".to_owned(), "has no price for SMS in CN USD".to_owned())]);
        // A month later nobody sends messages any more.
        bench.recharge(&account, 200).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        assert_eq!(set(&bench, &account, Currency::Usd).await.err().unwrap().reason, Reason::PriceMissing);
        bench.pass(hours(24 * 40));
        set(&bench, &account, Currency::Usd).await.unwrap();
        let unknown = tandem_service_kit::fresh::fresh();
        assert_eq!(set(&bench, &unknown, Currency::Usd).await.err().unwrap().reason, Reason::ObjectNotFound);
    }
}

#[tokio::test]
async fn setting_the_same_currency_changes_nothing_whatever_is_open() {
    for bench in both("same_currency").await {
        let account = bench.account("alice").await;
        bench.recharge(&account, 500).await;
        let same = set(&bench, &account, Currency::Cny).await.unwrap();
        assert_eq!((same.account.currency, same.first_day), (Currency::Cny, day("2026-03-01")));
    }
}
