//! Arrears, countdown and lock: whether an account is sound and its workspaces may be used (`domain.md` 3.12, 5.2, 5.6).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::names;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::WorkspaceStanding;

use super::account::AccountStanding;

/// How long a debt may stand before workspaces are locked: 14 × 24 h from its start (D5).
pub const LOCK_COUNTDOWN: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The least notice before a lock for a workspace that comes under an older debt: enough for the warnings 3 days and
/// 1 day before (D6), so that nothing is ever locked, and its data deleted, without a word before it.
pub const NOTICE_MIN: SignedDuration = SignedDuration::from_hours(3 * 24);

names! {
    /// What started a countdown; only its own remedy ends it.
    LockCause: "arrears, subscription";
    /// The billing account owes something.
    Arrears = "arrears";
    /// The cloud subscription was suspended, or ended at a vendor whose policy locks.
    Subscription = "subscription";
}

names! {
    /// What ends a countdown or a lock (`domain.md` 3.12, D7).
    Remedy: "recharge, bind_cloud, choose_billing_center, restore_subscription, operator";
    /// Paying what the account owes.
    Recharge = "recharge";
    /// Settling through a cloud account.
    BindCloud = "bind_cloud";
    /// Confirming settlement by the Billing Center.
    ChooseBillingCenter = "choose_billing_center";
    /// Renewing or paying the frozen purchase at the cloud.
    RestoreSubscription = "restore_subscription";
    /// An operator's unlock.
    Operator = "operator";
}

const DAY_SECS: i64 = 86_400;

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

    /// Starts the countdown of a workspace that comes under arrears which began at `since`: the account's own deadline
    /// (D5), but with [`NOTICE_MIN`] at least. `None` when nothing changes.
    pub fn join_arrears(self, since: Timestamp, now: Timestamp) -> Option<Standing> {
        let counting = self.count_down(LockCause::Arrears, since)?;
        Some(Standing { lock_at: counting.lock_at.max(Some(now + NOTICE_MIN)), ..counting })
    }

    /// Ends the countdown that a cause had started. `None` when nothing changes.
    ///
    /// A lock stays: the data is gone, and only an operator opens the workspace again (5.2, 5.6, D7).
    pub fn settle(self, cause: LockCause) -> Option<Standing> {
        let counting = self.state == WorkspaceStanding::LockCountdown;
        (counting && self.cause == Some(cause)).then_some(Standing::ACTIVE)
    }

    /// Ends the countdown or the lock that a cause had started, whatever is owed: what two people decided. `None` when
    /// nothing changes.
    pub fn release(self, cause: LockCause) -> Option<Standing> {
        let held = matches!(self.state, WorkspaceStanding::LockCountdown | WorkspaceStanding::Locked);
        (held && self.cause == Some(cause)).then_some(Standing::ACTIVE)
    }

    /// What an operator's unlock makes of it (5.2, D7). `settled` says that whoever pays for the workspace owes nothing.
    ///
    /// A forced unlock while something is owed is a grace: a countdown of 14 days from now, at whose end it is locked
    /// again unless the debt is settled. Fails with `WORKSPACE_NOT_LOCKED`, `WORKSPACE_DISSOLVED` and `DEBT_OPEN`.
    pub fn unlock(self, settled: bool, forced: bool, now: Timestamp) -> Result<Standing, Reason> {
        match self.state {
            WorkspaceStanding::Active => Err(Reason::WorkspaceNotLocked),
            WorkspaceStanding::Dissolved => Err(Reason::WorkspaceDissolved),
            WorkspaceStanding::LockCountdown | WorkspaceStanding::Locked if settled => Ok(Standing::ACTIVE),
            WorkspaceStanding::LockCountdown | WorkspaceStanding::Locked if forced => Ok(Standing {
                state: WorkspaceStanding::LockCountdown,
                lock_at: Some(now + LOCK_COUNTDOWN),
                cause: self.cause,
            }),
            WorkspaceStanding::LockCountdown | WorkspaceStanding::Locked => Err(Reason::DebtOpen),
        }
    }

    /// Ends the workspace for good, from whatever standing. `None` when it has ended already.
    pub fn dissolve(self) -> Option<Standing> {
        let state = WorkspaceStanding::Dissolved;
        (self.state != state).then_some(Standing { state, lock_at: None, cause: None })
    }

    /// Whole days until the lock, begun ones counted; `None` outside a countdown.
    pub fn days_left(self, now: Timestamp) -> Option<i64> {
        let left = self.lock_at?.duration_since(now).as_secs().max(0);
        Some(left.div_euclid(DAY_SECS) + i64::from(left.rem_euclid(DAY_SECS) > 0))
    }

    /// What ends the countdown or the lock, the customer's own ways first (3.12). `by_center` says that the Billing
    /// Center settles the workspace, `owes` that its account owes something.
    pub fn remedies(self, by_center: bool, owes: bool) -> Vec<Remedy> {
        match (self.state, self.cause) {
            (WorkspaceStanding::Active | WorkspaceStanding::Dissolved, _) => Vec::new(),
            (WorkspaceStanding::LockCountdown, Some(LockCause::Subscription)) if by_center => {
                vec![Remedy::ChooseBillingCenter, Remedy::BindCloud]
            }
            (WorkspaceStanding::LockCountdown, Some(LockCause::Subscription)) => {
                vec![Remedy::RestoreSubscription]
            }
            (WorkspaceStanding::LockCountdown, Some(LockCause::Arrears) | None) => {
                vec![Remedy::Recharge, Remedy::BindCloud]
            }
            (WorkspaceStanding::Locked, _) if owes && by_center => vec![Remedy::Recharge, Remedy::Operator],
            (WorkspaceStanding::Locked, _) => vec![Remedy::Operator],
        }
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
    use proptest::prelude::*;

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
        assert_eq!(locked.settle(LockCause::Arrears), None, "D7: paying is not enough any more");
    }

    #[test]
    fn an_operator_unlocks_what_is_settled_and_gives_a_grace_by_force() {
        let now = at(30 * 86_400);
        let counting = Standing::ACTIVE.count_down(LockCause::Arrears, at(0)).unwrap();
        let locked = counting.lock_if_due(now).unwrap();
        assert_eq!(locked.unlock(true, false, now), Ok(Standing::ACTIVE));
        assert_eq!(locked.unlock(false, false, now), Err(Reason::DebtOpen));
        let grace = locked.unlock(false, true, now).unwrap();
        assert_eq!(
            (grace.state, grace.lock_at),
            (WorkspaceStanding::LockCountdown, Some(now + LOCK_COUNTDOWN))
        );
        assert_eq!(grace.settle(LockCause::Arrears), Some(Standing::ACTIVE));
        assert_eq!(Standing::ACTIVE.unlock(true, true, now), Err(Reason::WorkspaceNotLocked));
        let gone = locked.dissolve().unwrap();
        assert_eq!(gone.unlock(true, true, now), Err(Reason::WorkspaceDissolved));
        assert_eq!(gone.dissolve(), None);
    }

    #[test]
    fn who_comes_under_an_old_debt_still_gets_notice() {
        let since = at(0);
        let early = Standing::ACTIVE.join_arrears(since, at(86_400)).unwrap();
        assert_eq!(early.lock_at, Some(since + LOCK_COUNTDOWN));
        let late = at(40 * 86_400);
        assert_eq!(Standing::ACTIVE.join_arrears(since, late).unwrap().lock_at, Some(late + NOTICE_MIN));
        assert_eq!(early.join_arrears(since, late), None);
    }

    #[test]
    fn begun_days_count() {
        let counting = Standing::ACTIVE.count_down(LockCause::Arrears, at(0)).unwrap();
        for (second, days) in [(0, 14), (1, 14), (7 * 86_400, 7), (14 * 86_400 - 1, 1), (15 * 86_400, 0)] {
            assert_eq!(counting.days_left(at(second)), Some(days), "{second}");
        }
        assert_eq!(Standing::ACTIVE.days_left(at(0)), None);
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        let cause = prop_oneof![Just(LockCause::Arrears), Just(LockCause::Subscription)];
        let ended = Standing::ACTIVE.dissolve().unwrap_or(Standing::ACTIVE);
        prop_oneof![
            Just(Standing::ACTIVE),
            Just(ended),
            (cause, 0_i64..4_000_000, any::<bool>()).prop_map(|(cause, since, locked)| {
                let counting = Standing::ACTIVE.count_down(cause, at(since)).unwrap_or(Standing::ACTIVE);
                let end = at(since) + LOCK_COUNTDOWN;
                if locked { counting.lock_if_due(end).unwrap_or(counting) } else { counting }
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Whatever happens in whatever order: a deadline stands exactly during a countdown, a cause exactly while
        /// something is the matter, nothing but an operator leaves a lock, and nothing leaves the end.
        #[test]
        fn every_path_keeps_the_rules(
            start in any_standing(),
            acts in proptest::collection::vec((0_u8..7, 0_i64..4_000_000), 1..20),
        ) {
            let mut now = at(0);
            let mut standing = start;
            for (act, step) in acts {
                now += SignedDuration::from_secs(step);
                let before = standing;
                let next = match act {
                    0 => standing.count_down(LockCause::Arrears, now),
                    1 => standing.join_arrears(at(0), now),
                    2 => standing.count_down(LockCause::Subscription, now),
                    3 => standing.settle(LockCause::Arrears),
                    4 => standing.settle(LockCause::Subscription),
                    5 => standing.lock_if_due(now),
                    _ => standing.unlock(step % 2 == 0, step % 3 == 0, now).ok(),
                };
                standing = next.unwrap_or(standing);
                let counting = standing.state == WorkspaceStanding::LockCountdown;
                prop_assert_eq!(counting, standing.lock_at.is_some());
                let held = counting || standing.state == WorkspaceStanding::Locked;
                prop_assert_eq!(held, standing.cause.is_some());
                if before.state == WorkspaceStanding::Dissolved {
                    prop_assert_eq!(standing, before);
                }
                if before.state == WorkspaceStanding::Locked && act != 6 {
                    prop_assert_eq!(standing, before);
                }
                prop_assert_eq!(held, !standing.remedies(true, true).is_empty());
            }
        }
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
