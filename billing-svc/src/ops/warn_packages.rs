//! Tells customers that a package is about to end: 30 and 7 days before (`domain.md` 3.18).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::day::UsageDay;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use crate::context::Context;
use crate::domain::card;
use crate::mail::{self, Letter};
use crate::store::{account, package};

/// How many days before the end customers are told, the nearest first.
const WARN_DAYS: [i32; 2] = [7, 30];
/// Packages of one batch.
const BATCH: i64 = 200;
/// How far a zone can be ahead of UTC.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(14);

/// Tells of a bounded number of packages; returns of how many.
///
/// One that was not told of in time, because nothing ran, is told of once, with the days that are left.
pub async fn run(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let latest = UsageDay::of(now.saturating_add(AHEAD_MAX).unwrap_or(now), &jiff::tz::TimeZone::UTC);
    let mut told = 0;
    for days in WARN_DAYS {
        // A day back, because a zone may be behind UTC; each account's own day is looked at below.
        let range = (latest.plus_days(-2), latest.plus_days(days));
        let ending = package::ending(&ctx.db.read, range, days, BATCH).await?;
        if ending.is_empty() {
            continue;
        }
        let ids: Vec<_> = ending.iter().map(|e| e.package.billing_account.clone()).collect();
        let payers = account::find_all(&ctx.db.read, &ids).await?;
        let tx = ctx.db.begin().await?;
        let mut mails = Vec::new();
        for e in &ending {
            let package = &e.package;
            let Some(payer) = payers.iter().find(|payer| payer.id == package.billing_account) else {
                continue;
            };
            let left = package.last_day.days_since(card::today(payer.region, now));
            if !(0..=days).contains(&left) || !package::set_warned(&tx, package, days).await? {
                continue;
            }
            let (offer, last_day) = (package.offer.clone(), package.last_day.to_string());
            let letter = Letter::PackageEndsSoon { offer, last_day, days: i64::from(left) };
            let key = format!("package-ends:{}:{days}", package.id);
            let to = (&payer.email, payer.language, payer.id.as_str());
            mails.push(mail::outgoing(&ctx.letterhead, &letter, to.0, to.1, to.2, &key));
        }
        outbox::add(&tx, &mails, now).await?;
        tx.commit().await?;
        told += mails.len();
    }
    Ok(told)
}
