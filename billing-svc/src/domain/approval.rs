//! Acts that take two people: adjustments, refunds, forced unlocks (`reliability.md` sections 7 and 8, I-04).
//!
//! One person asks and says why; another one approves, and the act is planned from what is there in that moment, not
//! from what was there when it was asked for. A correction never rewrites an entry: it is a further transfer, whose id
//! comes from the request's id, so that it can be posted once only.

use jiff::{SignedDuration, Timestamp};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{ApprovalId, BillingAccountId, RechargeId, WorkspaceId};
use tandem_proto::money::Money;
use tandem_proto::names;

use super::deduction;
use super::ledger::{Account, Cause, CauseKind, Transfer, Unbalanced};
use super::wallet::{Due, Lot, LotKind, MONEY, Overflow, Part, Purchase, Wallet};

/// How long a request waits for a second person.
pub const OPEN_FOR: SignedDuration = SignedDuration::from_hours(72);
/// Most days a forced unlock gives: longer is not a grace but a decision about the debt itself.
pub const GRACE_DAYS_MAX: i32 = 30;

names! {
    /// Where a request stands.
    ApprovalState: "waiting, executed, rejected, withdrawn, expired";
    /// Waits for a second person.
    Waiting = "waiting";
    /// Approved and done.
    Executed = "executed";
    /// Turned down.
    Rejected = "rejected";
    /// Taken back.
    Withdrawn = "withdrawn";
    /// Nobody decided in time; never stored.
    Expired = "expired";
}

names! {
    /// What kind of act is asked for, as the table holds it.
    ActKind: "credit, debit, refund, unlock";
    /// Cash for the customer.
    Credit = "credit";
    /// Cash from the customer.
    Debit = "debit";
    /// Money of a recharge goes back.
    Refund = "refund";
    /// Workspaces are unlocked without payment.
    Unlock = "unlock";
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The customer gets cash, which repays debt first.
    Credit(Money),
    /// Cash is taken from the customer; never more than there is.
    Debit(Money),
    /// Money of a recharge goes back to the customer.
    Refund {
        /// Which.
        recharge: RechargeId,
        /// How much of what is left of its cash.
        amount: Money,
        /// The reference of the payment that takes it out.
        external_ref: String,
    },
    /// Workspaces that arrears hold are in use again for some days.
    Unlock {
        /// Which; `None` for all of the account.
        workspace: Option<WorkspaceId>,
        /// Days from the approval on.
        grace_days: i32,
    },
}

impl Act {
    /// Its kind.
    pub fn kind(&self) -> ActKind {
        match self {
            Act::Credit(_) => ActKind::Credit,
            Act::Debit(_) => ActKind::Debit,
            Act::Refund { .. } => ActKind::Refund,
            Act::Unlock { .. } => ActKind::Unlock,
        }
    }

    /// The money that it moves, if it does.
    pub fn amount(&self) -> Option<Money> {
        match self {
            Act::Credit(amount) | Act::Debit(amount) | Act::Refund { amount, .. } => Some(*amount),
            Act::Unlock { .. } => None,
        }
    }
}

/// A request for an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Opaque.
    pub id: ApprovalId,
    /// The account it is about.
    pub billing_account: BillingAccountId,
    /// What is asked for.
    pub act: Act,
    /// Why.
    pub reason: String,
    /// Where it stands, as stored; see [`Approval::state_at`].
    pub state: ApprovalState,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// What they said.
    pub note: String,
}

/// What somebody decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Do it.
    Approve,
    /// Do not.
    Reject,
    /// Forget that I asked.
    Withdraw,
}

/// Why a decision does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was decided already or has expired.
    #[error("the request is not open")]
    NotOpen,
    /// Who asked may not decide.
    #[error("the requester may not decide")]
    IsRequester,
    /// Only who asked may take it back.
    #[error("only the requester may take it back")]
    NotRequester,
}

impl Approval {
    /// Where it stands at an instant.
    pub fn state_at(&self, now: Timestamp) -> ApprovalState {
        let overdue = self.state == ApprovalState::Waiting && self.expires_at <= now;
        if overdue { ApprovalState::Expired } else { self.state }
    }

    /// Decides it in somebody's name.
    ///
    /// Two people at least: who asked can only withdraw, and nobody else can.
    pub fn decide(
        self,
        decision: Decision,
        by: &str,
        note: String,
        now: Timestamp,
    ) -> Result<Approval, Refusal> {
        let own = self.requested_by == by;
        match decision {
            Decision::Approve | Decision::Reject if own => return Err(Refusal::IsRequester),
            Decision::Withdraw if !own => return Err(Refusal::NotRequester),
            Decision::Approve | Decision::Reject | Decision::Withdraw => {}
        }
        if self.state_at(now) != ApprovalState::Waiting {
            return Err(Refusal::NotOpen);
        }
        let state = match decision {
            Decision::Approve => ApprovalState::Executed,
            Decision::Reject => ApprovalState::Rejected,
            Decision::Withdraw => ApprovalState::Withdrawn,
        };
        Ok(Approval { state, decided_by: Some(by.to_owned()), decided_at: Some(now), note, ..self })
    }
}

/// What an act moves in a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The transfers, in their order.
    pub transfers: Vec<Transfer>,
    /// The lot that comes in, with what it is worth.
    pub lot: Option<Lot>,
    /// What that lot repays; the last transfer.
    pub repaid: i64,
}

/// Why an act cannot be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is not as much cash as it takes.
    #[error("there is not that much cash")]
    Insufficient,
    /// An amount does not fit.
    #[error("the amount does not fit")]
    Overflow,
}

impl From<Unbalanced> for PlanError {
    fn from(_: Unbalanced) -> PlanError {
        PlanError::Overflow
    }
}

impl From<Overflow> for PlanError {
    fn from(_: Overflow) -> PlanError {
        PlanError::Overflow
    }
}

/// Plans what an act moves in a wallet, and moves it there. An unlock moves nothing.
pub fn plan(
    id: &ApprovalId,
    act: &Act,
    wallet: &mut Wallet,
    today: UsageDay,
    now: Timestamp,
) -> Result<Plan, PlanError> {
    match act {
        Act::Credit(amount) => credit(id, amount.minor, wallet, now),
        Act::Debit(amount) => {
            let due = Due { restricted: 0, ordinary: amount.minor };
            let what = Purchase { due, total: amount.minor, day: today, now };
            let parts = wallet.pay_in_full(MONEY, what).ok_or(PlanError::Insufficient)?;
            let cause = Cause::new(CauseKind::Adjustment, id.as_str());
            let transfers = vec![deduction::outflow(cause, &parts, Account::Adjustment)?];
            Ok(Plan { transfers, ..Plan::default() })
        }
        Act::Refund { recharge, amount, .. } => {
            let part = take(wallet, recharge.as_str(), amount.minor)?;
            let cause = Cause::new(CauseKind::Refund, id.as_str());
            let transfers = vec![deduction::outflow(cause, &[part], Account::Funding)?];
            Ok(Plan { transfers, ..Plan::default() })
        }
        Act::Unlock { .. } => Ok(Plan::default()),
    }
}

/// Cash comes from our books and repays debt like any inflow (`domain.md` 3.13).
fn credit(id: &ApprovalId, minor: i64, wallet: &mut Wallet, now: Timestamp) -> Result<Plan, PlanError> {
    let lot = Lot {
        kind: LotKind::Cash,
        id: id.as_str().to_owned(),
        balance: minor,
        opened_at: now,
        valid_from: now,
        last_day: None,
        min_spend: 0,
    };
    let cause = Cause::new(CauseKind::Adjustment, id.as_str());
    let mut transfers = vec![deduction::inflow(cause, Account::Adjustment, lot.kind, &lot.id, minor)?];
    let repaid = wallet.take_in(lot.clone())?;
    if repaid > 0 {
        transfers.push(deduction::repayment(lot.kind, &lot.id, repaid)?);
    }
    Ok(Plan { transfers, lot: Some(lot), repaid })
}

/// Takes from one lot of cash.
fn take(wallet: &mut Wallet, lot: &str, minor: i64) -> Result<Part, PlanError> {
    let found = wallet.lots().iter().find(|found| found.id == lot && found.kind == LotKind::Cash);
    if found.is_none_or(|found| found.balance < minor) {
        return Err(PlanError::Insufficient);
    }
    let left = wallet.lots().iter().map(|other| {
        let taken = if other.id == lot && other.kind == LotKind::Cash { minor } else { 0 };
        Lot { balance: other.balance - taken, ..other.clone() }
    });
    *wallet = Wallet::new(left.collect(), wallet.overdraft());
    Ok(Part { kind: LotKind::Cash, lot: lot.to_owned(), amount: minor, restricted: 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tandem_proto::ids::Id as _;
    use tandem_proto::money::Currency;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cny(minor: i64) -> Money {
        Money { minor, currency: Currency::Cny }
    }

    fn id() -> ApprovalId {
        ApprovalId::from_uuid("0198d9ca-4e1a-7e1c-8d5f-0a3b2c4d5e6f".parse().unwrap())
    }

    fn recharge() -> RechargeId {
        RechargeId::from_uuid("0198d9ca-4e1a-7e1c-8d5f-0a3b2c4d5e70".parse().unwrap())
    }

    fn approval(act: Act) -> Approval {
        Approval {
            id: id(),
            billing_account: BillingAccountId::from_uuid(
                "0198d9ca-4e1a-7e1c-8d5f-0a3b2c4d5e71".parse().unwrap(),
            ),
            act,
            reason: "a slip".into(),
            state: ApprovalState::Waiting,
            requested_by: "ann".into(),
            requested_at: at(0),
            expires_at: at(0) + OPEN_FOR,
            decided_by: None,
            decided_at: None,
            note: String::new(),
        }
    }

    #[test]
    fn who_asked_can_only_take_it_back_and_nobody_else_can() {
        let decide = |decision, by| {
            approval(Act::Credit(cny(5))).decide(decision, by, String::new(), at(1)).map(|a| a.state)
        };
        assert_eq!(decide(Decision::Approve, "ann"), Err(Refusal::IsRequester));
        assert_eq!(decide(Decision::Reject, "ann"), Err(Refusal::IsRequester));
        assert_eq!(decide(Decision::Withdraw, "bob"), Err(Refusal::NotRequester));
        assert_eq!(decide(Decision::Approve, "bob"), Ok(ApprovalState::Executed));
        assert_eq!(decide(Decision::Reject, "bob"), Ok(ApprovalState::Rejected));
        assert_eq!(decide(Decision::Withdraw, "ann"), Ok(ApprovalState::Withdrawn));
    }

    #[test]
    fn a_request_is_decided_once_and_within_three_days() {
        let open = approval(Act::Credit(cny(5)));
        let last = at(72 * 3_600 - 1);
        assert!(open.clone().decide(Decision::Approve, "bob", String::new(), last).is_ok());
        assert_eq!(open.state_at(at(72 * 3_600)), ApprovalState::Expired);
        let late = open.clone().decide(Decision::Approve, "bob", String::new(), at(72 * 3_600));
        assert_eq!(late, Err(Refusal::NotOpen));
        let done = open.decide(Decision::Approve, "bob", "fine".into(), at(9)).unwrap();
        assert_eq!((done.decided_by.as_deref(), done.decided_at), (Some("bob"), Some(at(9))));
        assert_eq!(done.state_at(at(99 * 3_600)), ApprovalState::Executed);
        assert_eq!(done.decide(Decision::Reject, "eve", String::new(), at(10)), Err(Refusal::NotOpen));
    }

    fn lot(kind: LotKind, id: &str, balance: i64) -> Lot {
        let from = Timestamp::UNIX_EPOCH;
        Lot { kind, id: id.into(), balance, opened_at: from, valid_from: from, last_day: None, min_spend: 0 }
    }

    fn planned(act: &Act, wallet: &mut Wallet) -> Result<Plan, PlanError> {
        plan(&id(), act, wallet, "2026-03-01".parse().unwrap(), at(100))
    }

    #[test]
    fn a_refund_takes_from_its_own_recharge_only() {
        let lots = || vec![lot(LotKind::Cash, recharge().as_str(), 30), lot(LotKind::Cash, "rch_other", 70)];
        let refund =
            |minor| Act::Refund { recharge: recharge(), amount: cny(minor), external_ref: "bank-1".into() };
        let mut wallet = Wallet::new(lots(), 0);
        assert_eq!(planned(&refund(31), &mut wallet), Err(PlanError::Insufficient));
        assert_eq!(wallet, Wallet::new(lots(), 0), "a refusal changes nothing");
        let plan = planned(&refund(30), &mut wallet).unwrap();
        assert_eq!(wallet.total(LotKind::Cash), 70);
        assert!(plan.transfers[0].legs().contains(&(Account::Funding, 30)));
    }

    #[test]
    fn a_debit_takes_cash_and_never_credit_or_debt() {
        let lots = || vec![lot(LotKind::Cash, "a", 30), lot(LotKind::PrepaidCard, "b", 100)];
        let mut wallet = Wallet::new(lots(), 0);
        assert_eq!(planned(&Act::Debit(cny(31)), &mut wallet), Err(PlanError::Insufficient));
        assert!(planned(&Act::Debit(cny(30)), &mut wallet).is_ok());
        assert_eq!((wallet.total(LotKind::Cash), wallet.total(LotKind::PrepaidCard)), (0, 100));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Cash plus debt changes by exactly what was asked for, transfers say the same as the wallet, nothing goes
        /// below zero, and a refusal changes nothing.
        #[test]
        fn an_act_moves_what_it_says_and_no_more(
            cash in prop::collection::vec(0_i64..500, 0..4), owed in 0_i64..300, amount in 1_i64..1_200,
            which in 0_u8..3,
        ) {
            let mut lots: Vec<Lot> =
                cash.iter().enumerate().map(|(n, left)| lot(LotKind::Cash, &format!("rch_{n}"), *left)).collect();
            lots.push(lot(LotKind::Cash, recharge().as_str(), 150));
            let before = Wallet::new(lots, -owed);
            let worth = |wallet: &Wallet| wallet.total(LotKind::Cash) + wallet.overdraft();
            let (act, sign) = match which {
                0 => (Act::Credit(cny(amount)), 1),
                1 => (Act::Debit(cny(amount)), -1),
                _ => (
                    Act::Refund { recharge: recharge(), amount: cny(amount), external_ref: "x".into() },
                    -1,
                ),
            };
            let mut wallet = before.clone();
            let Ok(plan) = planned(&act, &mut wallet) else {
                prop_assert_eq!(wallet, before);
                prop_assert!(which != 0);
                return Ok(());
            };
            prop_assert_eq!(worth(&wallet) - worth(&before), sign * amount);
            prop_assert!(wallet.lots().iter().all(|lot| lot.balance >= 0) && wallet.overdraft() <= 0);
            let customers: i64 = plan.transfers.iter().flat_map(|transfer| transfer.legs())
                .filter(|(account, _)| account.kind().is_the_customers()).map(|(_, minor)| minor).sum();
            prop_assert_eq!(customers, sign * amount);
        }
    }
}
