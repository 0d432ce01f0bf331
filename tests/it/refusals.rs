//! Registration with a purchase that cannot be used: each its own clear error, and nothing half-created.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use tandem_adapters::sandbox::faults::Awkward;
use tandem_adapters::sandbox::state::SandboxPurchase;
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{PurchaseIds, SettlementMethod};
use tandem_proto::console::v1::commercial_activation::{Payer, Purchase};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::customer::{commercial, ids, paid};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;

const ACCOUNT: &str = "1744000000000001";
const OTHER_ACCOUNT: &str = "1744000000000002";
/// Whatever an activation makes.
const BILLING_TABLES: [&str; 6] = [
    "billing_account",
    "workspace",
    "workspace_directory",
    "workspace_binding",
    "cloud_account",
    "landing_ticket",
];
const CONSOLE_TABLES: [&str; 3] = ["workspace", "member", "pending_activation"];

on_both_engines! {
    each_unusable_purchase_has_its_own_error_and_leaves_nothing_behind;
    one_purchase_cannot_be_tried_for_ever;
    what_does_not_exist_is_named;
}

async fn each_unusable_purchase_has_its_own_error_and_leaves_nothing_behind(
    engine: Engine,
) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let owned = system.buy(OTHER_ACCOUNT).await?;
    system.cloud_customer("cn1", "owner", &owned).await?;
    let good = system.buy(ACCOUNT).await?;
    let frozen = system.buy(ACCOUNT).await?;
    system.sandbox.expire(&frozen.instance_id)?;
    let released = system.buy(ACCOUNT).await?;
    system.sandbox.release(&released.instance_id, true)?;
    for (purchase, state) in
        [(&frozen, billing::SubscriptionState::Suspended), (&released, billing::SubscriptionState::Cancelled)]
    {
        system
            .eventually("the callback is applied", async || {
                let subscription = system.subscription(&purchase.instance_id).await?;
                Ok((subscription.state() == state).then_some(()))
            })
            .await?;
    }
    let awkward = |kind| system.sandbox.awkward(kind, ACCOUNT);
    let typed = |account: &str, instance: &str| PurchaseIds {
        vendor_account_id: account.to_owned(),
        vendor_instance_id: instance.to_owned(),
    };
    let cases: Vec<(&str, PurchaseIds, Reason)> = vec![
        ("a number that nobody has", typed(ACCOUNT, "1559999999"), Reason::PurchaseNotFound),
        ("another buyer's number", typed(ACCOUNT, &owned.instance_id), Reason::PurchaseNotFound),
        ("another account's number", typed(OTHER_ACCOUNT, &good.instance_id), Reason::PurchaseNotFound),
        ("another seller's purchase", ids(&awkward(Awkward::OtherSeller)?), Reason::PurchaseNotFound),
        ("another product of ours", ids(&awkward(Awkward::OtherProduct)?), Reason::PurchaseWrongProduct),
        ("a frozen purchase", ids(&frozen), Reason::PurchaseSuspended),
        (
            "a frozen purchase that was never announced",
            ids(&awkward(Awkward::Frozen)?),
            Reason::PurchaseSuspended,
        ),
        ("a released purchase", ids(&released), Reason::PurchaseEnded),
        (
            "a closed purchase that was never announced",
            ids(&awkward(Awkward::Closed)?),
            Reason::PurchaseEnded,
        ),
        ("a purchase whose money was given back", ids(&awkward(Awkward::Refunded)?), Reason::PurchaseEnded),
        ("a purchase that is being prepared", ids(&awkward(Awkward::Preparing)?), Reason::PurchasePending),
        ("a purchase of another customer", ids(&owned), Reason::PurchaseOwnedByOther),
        ("a sub-user's number", typed("204195741430123456", &good.instance_id), Reason::MainAccountRequired),
        (
            "a sub-user's login name",
            typed("mary@1744000000000001.onaliyun.com", &good.instance_id),
            Reason::MainAccountRequired,
        ),
        ("no number at all", typed("not-a-number", &good.instance_id), Reason::InvalidField),
    ];
    let customer = system.register("cn1", "hopeful").await?;
    let before = (
        system.billing_rows().await?.counts(&BILLING_TABLES).await?,
        system.console_rows().await?.counts(&CONSOLE_TABLES).await?,
    );
    let (mut texts, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for (what, ids, expected) in cases {
        let asked = commercial(
            Payer::CreateBillingAccount(true),
            SettlementMethod::AlibabaCloud,
            Some(Purchase::PurchaseIds(ids)),
        );
        let answer = system.activate(&customer, "hopeful workspace", asked).await;
        let refused = answer.err().with_context(|| format!("{what} was accepted"))?;
        let reason = reason_of(&refused).with_context(|| format!("{what}: {refused:?}"))?;
        ensure!(reason == expected, "{what}: {} instead of {}", reason.name(), expected.name());
        reasons.insert(reason.name());
        texts.insert(refused.message().to_owned());
        // One purchase may be tried five times an hour.
        system.advance(SignedDuration::from_mins(15)).await?;
    }
    ensure!(texts.len() >= reasons.len(), "two reasons have one text: {texts:#?}");
    ensure!(
        texts.iter().any(|text| text.contains("main account")),
        "nobody says what to type instead: {texts:#?}"
    );
    let after = (
        system.billing_rows().await?.counts(&BILLING_TABLES).await?,
        system.console_rows().await?.counts(&CONSOLE_TABLES).await?,
    );
    ensure!(before == after, "something was half made: {before:?}, {after:?}");

    // The account of step 2 is intact: the next try, with the right numbers, succeeds.
    let asked = commercial(
        Payer::CreateBillingAccount(true),
        SettlementMethod::AlibabaCloud,
        Some(Purchase::PurchaseIds(ids(&good))),
    );
    let paid = paid(system.activate(&customer, "at last", asked).await?)?;
    ensure!(system.binding(&paid.workspace).await?.settlement_method() == SettlementMethod::AlibabaCloud);
    system.check_invariants().await
}

async fn verify(system: &System, account: &str, purchase: &SandboxPurchase) -> Result<(), tonic::Status> {
    let request = billing::VerifyPurchaseRequest {
        vendor: tandem_tests::configs::VENDOR.to_message().into(),
        market: tandem_proto::common::v1::Market::China.into(),
        purchase_ids: Some(PurchaseIds { vendor_account_id: account.to_owned(), ..ids(purchase) }),
        billing_account_id: String::new(),
    };
    let portal = system.portal().map_err(|error| tonic::Status::unknown(error.to_string()))?;
    portal.marketplace().verify_purchase(request).await.map(drop)
}

/// `reliability.md` 7: five failures an hour, then not even the right number helps; an hour later it does.
async fn one_purchase_cannot_be_tried_for_ever(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy(ACCOUNT).await?;
    for guess in 3..8 {
        let guessed = format!("174400000000000{guess}");
        let refused = verify(&system, &guessed, &purchase).await.err().context("a guess was accepted")?;
        ensure!(reason_of(&refused) == Some(Reason::PurchaseNotFound), "{refused:?}");
    }
    let refused = verify(&system, ACCOUNT, &purchase).await.err().context("there is no end of tries")?;
    ensure!(reason_of(&refused) == Some(Reason::TooManyTries), "{refused:?}");
    system.advance(SignedDuration::from_mins(61)).await?;
    verify(&system, ACCOUNT, &purchase).await?;
    Ok(())
}

/// A proof of nothing is no proof, and a bill run of an unknown site is no early one.
async fn what_does_not_exist_is_named(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    system.direct_customer("cn1", "known").await?;
    let operator = system.operator()?;
    let bill = "bil_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f".to_owned();
    let request = billing::ProveBillsRequest { bill_id: bill, ..Default::default() };
    let refused = operator.bills().prove_bills(request).await.err().context("nothing was proved")?;
    ensure!(reason_of(&refused) == Some(Reason::ObjectNotFound), "{refused:?}");
    ensure!(refused.message().contains("bill_id"), "{refused:?}");
    for (site, reason) in [("xx9", Reason::SiteNotFound), ("cn1", Reason::DayNotOver)] {
        let request = billing::RunBillingRequest {
            request_id: request_id("run"),
            site: site.to_owned(),
            usage_day: "2026-03-01".to_owned(),
        };
        let refused = operator.bills().run_billing(request).await.err().context("it cannot be billed")?;
        ensure!(reason_of(&refused) == Some(reason), "{site}: {refused:?}");
    }
    Ok(())
}
