//! Arrears, countdown and lock: whether an account is sound and its workspaces may be used (`domain.md` 3.12, 5.2, 5.6).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::names;
use tandem_proto::settlement::WorkspaceStanding;

use super::account::AccountStanding;

/// How long a debt may stand before workspaces are locked: 14 × 24 h from its start (D5).
pub const LOCK_COUNTDOWN: SignedDuration = SignedDuration::from_hours(14 * 24);

names! {
    /// What started a countdown; only its own remedy ends it.
    LockCause: "arrears, subscription";
    /// The billing account owes something.
    Arrears = "arrears";
    /// The cloud subscription was suspended, or ended at a vendor whose policy locks.
    Subscription = "subscription";
}

/// A workspace's standing with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it may be used.
    pub state: WorkspaceStanding,
    /// When it will be locked; set exactly during a countdown.
    pub lock_at: Option<Timestamp>,
    /// What started the countdown or lock.
    pub cause: Option<LockCause>,
}

impl Standing {
    /// In use.
    pub const ACTIVE: Standing = Standing { state: WorkspaceStanding::Active, lock_at: None, cause: None };

    /// Starts a countdown. One that runs already goes on as it is: a further debt never moves the deadline.
    ///
    /// `None` when nothing changes.
    pub fn count_down(self, cause: LockCause, since: Timestamp) -> Option<Standing> {
        let state = WorkspaceStanding::LockCountdown;
        (self.state == WorkspaceStanding::Active).then(|| Standing {
            state,
            lock_at: Some(since + LOCK_COUNTDOWN),
            cause: Some(cause),
        })
    }

    /// Ends the countdown or the lock that a cause had started. `None` when nothing changes.
    pub fn settle(self, cause: LockCause) -> Option<Standing> {
        let held = matches!(self.state, WorkspaceStanding::LockCountdown | WorkspaceStanding::Locked);
        (held && self.cause == Some(cause)).then_some(Standing::ACTIVE)
    }

    /// Locks once the deadline has passed. `None` when nothing changes.
    pub fn lock_if_due(self, now: Timestamp) -> Option<Standing> {
        let due = self.state == WorkspaceStanding::LockCountdown && self.lock_at.is_some_and(|at| at <= now);
        due.then_some(Standing { state: WorkspaceStanding::Locked, lock_at: None, cause: self.cause })
    }
}

/// An account's standing after its debt became what it is now.
///
/// A further bill during arrears does not restart the 14 days.
pub fn of_account(
    standing: AccountStanding,
    since: Option<Timestamp>,
    owes: bool,
    now: Timestamp,
) -> (AccountStanding, Option<Timestamp>) {
    match (owes, since) {
        (false, _) => (AccountStanding::Good, None),
        (true, None) => (AccountStanding::Arrears, Some(now)),
        (true, Some(start)) if start + LOCK_COUNTDOWN <= now => (AccountStanding::Overdue, Some(start)),
        (true, Some(start)) => (standing.max(AccountStanding::Arrears), Some(start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_second_debt_does_not_move_the_deadline() {
        let counting = Standing::ACTIVE.count_down(LockCause::Arrears, at(0)).unwrap();
        assert_eq!(counting.lock_at, Some(at(14 * 86_400)));
        assert_eq!(counting.count_down(LockCause::Subscription, at(50)), None);
    }

    #[test]
    fn only_its_own_remedy_ends_a_countdown() {
        let counting = Standing::ACTIVE.count_down(LockCause::Subscription, at(0)).unwrap();
        assert_eq!(counting.settle(LockCause::Arrears), None);
        assert_eq!(counting.settle(LockCause::Subscription), Some(Standing::ACTIVE));
        assert_eq!(Standing::ACTIVE.settle(LockCause::Arrears), None);
    }

    #[test]
    fn the_lock_comes_with_the_deadline_and_not_before() {
        let counting = Standing::ACTIVE.count_down(LockCause::Arrears, at(0)).unwrap();
        assert_eq!(counting.lock_if_due(at(14 * 86_400 - 1)), None);
        let locked = counting.lock_if_due(at(14 * 86_400)).unwrap();
        assert_eq!(locked.state, WorkspaceStanding::Locked);
        assert_eq!(locked.settle(LockCause::Arrears), Some(Standing::ACTIVE));
    }

    #[test]
    fn an_account_keeps_the_start_of_its_arrears() {
        let (good, arrears) = (AccountStanding::Good, AccountStanding::Arrears);
        assert_eq!(of_account(good, None, true, at(5)), (arrears, Some(at(5))));
        assert_eq!(of_account(arrears, Some(at(5)), true, at(99)), (arrears, Some(at(5))));
        let later = at(5) + LOCK_COUNTDOWN;
        assert_eq!(of_account(arrears, Some(at(5)), true, later), (AccountStanding::Overdue, Some(at(5))));
        assert_eq!(of_account(AccountStanding::Overdue, Some(at(5)), false, later), (good, None));
    }
}
