//! Tells customers that vouchers and prepaid cards are about to expire (`domain.md` 3.21).

use std::collections::BTreeMap;

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Money;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use crate::context::Context;
use crate::domain::{card, expiry};
use crate::mail::{self, ExpiringCredit, Letter};
use crate::store::account;
use crate::store::lot_warning::{self, Candidate};

/// Lots of one batch and warning.
const BATCH: i64 = 200;

/// Warns of a bounded number of lots, each of each warning once. Returns how many were looked at.
pub async fn run(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let mut count = 0;
    for region in BillingRegion::ALL {
        // The nearest first: who gets that one needs no other.
        for days in expiry::WARNINGS.into_iter().rev() {
            count += warn(ctx, *region, days, now).await?;
        }
    }
    Ok(count)
}

async fn warn(ctx: &Context, region: BillingRegion, days: i32, now: Timestamp) -> Result<usize, Fault> {
    let today = card::today(region, now);
    if !lot_warning::any(&ctx.db.read, region, today, days).await? {
        return Ok(0);
    }
    let tx = ctx.db.begin().await?;
    let found = lot_warning::lock(&tx, region, today, days, BATCH).await?;
    // Also what came too late for this warning is done with it.
    lot_warning::set_warned(&tx, &found, days).await?;
    let mut due: BTreeMap<BillingAccountId, Vec<&Candidate>> = BTreeMap::new();
    for candidate in &found {
        if is_due(candidate, region, today) {
            due.entry(candidate.billing_account.clone()).or_default().push(candidate);
        }
    }
    let accounts: Vec<BillingAccountId> = due.keys().cloned().collect();
    let mut mails = Vec::new();
    for payer in account::find_all(&tx, &accounts).await? {
        let Some(lots) = due.get(&payer.id) else { continue };
        let letter = Letter::CreditExpiring { credits: lots.iter().map(|c| credit(c)).collect() };
        let ids: Vec<&str> = lots.iter().map(|c| c.listed.lot.id.as_str()).collect();
        let key = format!("credit-expiring:{days}:{}", ids.join(","));
        let id = payer.id.as_str();
        mails.push(mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, id, &key));
    }
    outbox::add(&tx, &mails, now).await?;
    tx.commit().await?;
    Ok(found.len())
}

fn is_due(candidate: &Candidate, region: BillingRegion, today: UsageDay) -> bool {
    let lot = &candidate.listed.lot;
    let zone = zone(region.time_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    let opened = UsageDay::of(lot.opened_at, &zone);
    lot.last_day.is_some_and(|last| expiry::due(today, opened, last, candidate.warned).is_some())
}

fn credit(candidate: &Candidate) -> ExpiringCredit {
    let listed = &candidate.listed;
    ExpiringCredit {
        kind: listed.lot.kind,
        id: listed.lot.id.clone(),
        left: Money { minor: listed.lot.balance, ..listed.face }.to_string(),
        last_day: listed.lot.last_day.map(|day| day.to_string()).unwrap_or_default(),
    }
}
