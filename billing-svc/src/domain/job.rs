//! What Billing does by the calendar and nobody asks for.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tandem_proto::day::UsageDay;
use tandem_proto::names;

names! {
    /// A job. Each does a bounded piece of work at a time, and nothing when there is nothing to do; doing one twice, or
    /// on two replicas at once, changes nothing.
    Job: "bill_run, monthly_bills, standing, reminders, alerts, expiry, repayment, recharges, pending_purchases, reconcile or tidy";
    /// Makes the bills of closed days, site by site, oldest day first.
    BillRun = "bill_run";
    /// Makes the bills of months that are over and billed, oldest month first.
    MonthlyBills = "monthly_bills";
    /// Makes debts overdue, ends forced unlocks and locks workspaces when their 14 days are over.
    Standing = "standing";
    /// Warns by mail of locks that are near, and of vouchers and cards whose last day is.
    Reminders = "reminders";
    /// Tells of workspaces that cost more than somebody wants to hear of.
    Alerts = "alerts";
    /// Takes away what vouchers and cards have left after their last day.
    Expiry = "expiry";
    /// Pays debts from what their accounts hold.
    Repayment = "repayment";
    /// Asks for payments that nobody told of, and closes recharges that were never paid.
    Recharges = "recharges";
    /// Ends purchases that no workspace was ever bound to, and drops changes whose purchase was not made.
    PendingPurchases = "pending_purchases";
    /// Compares live purchases with their vendors.
    Reconcile = "reconcile";
    /// Deletes old answers, delivered messages and codes that no longer count.
    Tidy = "tidy";
}

/// Until when a job looks when it is run for a day: the end of that day in UTC, but never later than now.
///
/// `None` when the day has not begun.
pub fn due_until(day: UsageDay, now: Timestamp) -> Option<Timestamp> {
    let start = day.start(&TimeZone::UTC);
    (start <= now).then(|| day.next().start(&TimeZone::UTC).min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_its_end_or_now() {
        let now: Timestamp = "2026-03-05T10:00:00Z".parse().unwrap();
        let day = |text: &str| text.parse::<UsageDay>().unwrap();
        assert_eq!(due_until(day("2026-03-03"), now), Some("2026-03-04T00:00:00Z".parse().unwrap()));
        assert_eq!(due_until(day("2026-03-05"), now), Some(now));
        assert_eq!(due_until(day("2026-03-06"), now), None);
    }
}
