//! Whether a workspace may be moved to another billing account (`domain.md` 3.9, D10).

use tandem_proto::reason::Reason;
use tandem_proto::settlement::WorkspaceStanding;

use super::account::{AccountStanding, BillingAccount};
use super::binding::Settlement;
use super::standing::{LockCause, Standing};

/// What the rules have to know.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who pays now.
    pub from: &'a BillingAccount,
    /// Who is to pay.
    pub to: &'a BillingAccount,
    /// How the workspace is settled.
    pub settlement: &'a Settlement,
    /// Whether it may be used.
    pub standing: WorkspaceStanding,
    /// Whether a package of it is running.
    pub has_package: bool,
    /// Whether a bill of it is not paid.
    pub unpaid: bool,
    /// Whether every day that is over has been billed.
    pub past_is_billed: bool,
    /// Whether a part of today is on a bill.
    pub today_is_billed: bool,
}

/// Whether the workspace may be moved.
///
/// The new account must owe nothing: a workspace must not come into a countdown, or be locked, by moving.
pub fn may_move(facts: &Facts<'_>) -> Result<(), Reason> {
    match facts.standing {
        WorkspaceStanding::Active | WorkspaceStanding::LockCountdown => {}
        WorkspaceStanding::Locked => return Err(Reason::WorkspaceLocked),
        WorkspaceStanding::Dissolved => return Err(Reason::WorkspaceDissolved),
    }
    if facts.from.region != facts.to.region {
        return Err(Reason::RegionMismatch);
    }
    if facts.from.currency != facts.to.currency {
        return Err(Reason::CurrencyMismatch);
    }
    if *facts.settlement != Settlement::BillingCenter {
        return Err(Reason::CloudSubscriptionLive);
    }
    if facts.has_package {
        return Err(Reason::PackageRunning);
    }
    if facts.unpaid {
        return Err(Reason::BillsUnpaid);
    }
    if !facts.past_is_billed {
        return Err(Reason::UsageNotBilled);
    }
    if facts.today_is_billed {
        return Err(Reason::DayBilledAlready);
    }
    if facts.to.standing != AccountStanding::Good {
        return Err(Reason::AccountInArrears);
    }
    Ok(())
}

/// The workspace's standing at the new account: the old account's debts are not its business there, but a countdown
/// that an ended subscription has started goes on until the method is confirmed.
pub fn standing_after(standing: Standing) -> Standing {
    standing.settle(LockCause::Arrears).unwrap_or(standing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Company;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use tandem_proto::ids::{BillingAccountId, Id as _};
    use tandem_proto::language::Language;
    use tandem_proto::money::Currency;
    use tandem_proto::settlement::BillingRegion;

    fn account(number: u128) -> BillingAccount {
        let empty = String::new;
        BillingAccount {
            id: BillingAccountId::from_uuid(uuid::Uuid::from_u128(number)),
            region: BillingRegion::Domestic,
            username: empty(),
            email: empty(),
            phone: None,
            company: Company { name: empty(), industry: empty(), region: empty(), description: empty() },
            currency: Currency::Cny,
            language: Language::Zh,
            any_settlement_allowed: false,
            standing: AccountStanding::Good,
            arrears_since: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn facts<'a>(from: &'a BillingAccount, to: &'a BillingAccount) -> Facts<'a> {
        Facts {
            from,
            to,
            settlement: &Settlement::BillingCenter,
            standing: WorkspaceStanding::Active,
            has_package: false,
            unpaid: false,
            past_is_billed: true,
            today_is_billed: false,
        }
    }

    #[test]
    fn each_rule_refuses_by_itself() {
        let (from, to) = (account(1), account(2));
        let good = facts(&from, &to);
        assert_eq!(may_move(&good), Ok(()));
        let abroad = BillingAccount { region: BillingRegion::International, ..account(3) };
        let dollars = BillingAccount { currency: Currency::Usd, ..account(3) };
        let owing = BillingAccount { standing: AccountStanding::Arrears, ..account(3) };
        for (facts, reason) in [
            (Facts { to: &abroad, ..good }, Reason::RegionMismatch),
            (Facts { to: &dollars, ..good }, Reason::CurrencyMismatch),
            (Facts { to: &owing, ..good }, Reason::AccountInArrears),
            (Facts { standing: WorkspaceStanding::Locked, ..good }, Reason::WorkspaceLocked),
            (Facts { standing: WorkspaceStanding::Dissolved, ..good }, Reason::WorkspaceDissolved),
            (Facts { has_package: true, ..good }, Reason::PackageRunning),
            (Facts { unpaid: true, ..good }, Reason::BillsUnpaid),
            (Facts { past_is_billed: false, ..good }, Reason::UsageNotBilled),
            (Facts { today_is_billed: true, ..good }, Reason::DayBilledAlready),
        ] {
            assert_eq!(may_move(&facts), Err(reason));
        }
        // The old account's own debts are looked at through the workspace's bills only.
        assert_eq!(may_move(&Facts { from: &owing, ..good }), Ok(()));
    }

    #[test]
    fn only_the_old_accounts_arrears_end_with_the_move() {
        let since = Timestamp::UNIX_EPOCH;
        let owing = Standing::ACTIVE.count_down(LockCause::Arrears, since).unwrap();
        let ended = Standing::ACTIVE.count_down(LockCause::Subscription, since).unwrap();
        assert_eq!(standing_after(owing), Standing::ACTIVE);
        assert_eq!(standing_after(ended), ended);
        assert_eq!(standing_after(Standing::ACTIVE), Standing::ACTIVE);
    }

    proptest! {
        /// Whatever else holds: with a bill open, a day unbilled or the receiver in debt nothing is moved.
        #[test]
        fn nothing_is_moved_while_money_is_open(
            package: bool, unpaid: bool, past: bool, today: bool, owes: bool
        ) {
            let standing = if owes { AccountStanding::Overdue } else { AccountStanding::Good };
            let (from, to) = (account(1), BillingAccount { standing, ..account(2) });
            let facts = Facts {
                has_package: package,
                unpaid,
                past_is_billed: past,
                today_is_billed: today,
                ..facts(&from, &to)
            };
            let open = package || unpaid || !past || today || owes;
            prop_assert_eq!(may_move(&facts).is_err(), open);
        }
    }
}
