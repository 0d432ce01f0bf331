//! What a customer can pay with: lots, and the order they pay in (`domain.md` 2.9, 4.2).
//!
//! A lot is one voucher, one prepaid card or what is left of one inflow of cash, each with a balance of its own. Lots
//! pay by tier, inside a tier by earliest expiry, then oldest, then id (D4). What nothing can pay is overdraft, which
//! the Billing Center shows as a negative prepaid-card balance (D27).

use jiff::Timestamp;
use tandem_proto::day::UsageDay;
use tandem_proto::names;

names! {
    /// What a lot is; the order is the order they pay in.
    LotKind: "general_voucher, discount_voucher, prepaid_card, cash";
    /// Credit that was granted.
    GeneralVoucher = "general_voucher";
    /// Credit that came with a prepaid card.
    DiscountVoucher = "discount_voucher";
    /// Prepaid credit.
    PrepaidCard = "prepaid_card";
    /// Money.
    Cash = "cash";
}

impl LotKind {
    /// Whether it is a voucher: those never pay for restricted items.
    pub fn is_voucher(self) -> bool {
        matches!(self, LotKind::GeneralVoucher | LotKind::DiscountVoucher)
    }
}

/// What may pay a bill that the Billing Center settles.
pub const BILLING_CENTER: &[LotKind] =
    &[LotKind::GeneralVoucher, LotKind::DiscountVoucher, LotKind::PrepaidCard, LotKind::Cash];
/// What may pay a bill before the rest goes to a cloud: never cash.
pub const CLOUD: &[LotKind] = &[LotKind::GeneralVoucher, LotKind::DiscountVoucher, LotKind::PrepaidCard];
/// What may buy a prepaid card.
pub const MONEY: &[LotKind] = &[LotKind::Cash];
/// What repays debt: vouchers only ever pay bills (`domain.md` 3.13, 3.14).
pub const REPAYS: &[LotKind] = &[LotKind::PrepaidCard, LotKind::Cash];

names! {
    /// Where a lot stands (`domain.md` 5.5).
    LotState: "waiting, active, used_up, expired";
    /// Not valid yet.
    Waiting = "waiting";
    /// Can pay.
    Active = "active";
    /// Has nothing left.
    UsedUp = "used_up";
    /// What it had left was lost.
    Expired = "expired";
}

/// A voucher, a prepaid card or a remainder of cash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    /// What it is.
    pub kind: LotKind,
    /// What it came from: `vch_…`, `crd_…`, `rch_…` and others; unique in the customer's wallet.
    pub id: String,
    /// Minor units left; never below zero.
    pub balance: i64,
    /// When it came.
    pub opened_at: Timestamp,
    /// From when on it pays.
    pub valid_from: Timestamp,
    /// The last usage day whose bill it pays (D32); `None` for ever.
    pub last_day: Option<UsageDay>,
    /// The least payable of a bill it pays (D33).
    pub min_spend: i64,
}

impl Lot {
    fn order(&self) -> impl Ord + '_ {
        (self.kind, self.last_day.is_none(), self.last_day, self.opened_at, &self.id)
    }

    fn can_pay(&self, what: &Purchase) -> bool {
        self.balance > 0
            && self.valid_from <= what.now
            && self.last_day.is_none_or(|last| what.day <= last)
            && self.min_spend <= what.total
    }
}

/// Where a lot with a balance stands. `expired` says that what was left of it was taken away.
pub fn lot_state(balance: i64, expired: bool, valid_from: Timestamp, now: Timestamp) -> LotState {
    match () {
        () if expired => LotState::Expired,
        () if balance == 0 => LotState::UsedUp,
        () if valid_from > now => LotState::Waiting,
        () => LotState::Active,
    }
}

/// An amount, split by what may pay it (D31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Due {
    /// For SMS and synthetic tests: vouchers never pay it.
    pub restricted: i64,
    /// For everything else.
    pub ordinary: i64,
}

impl Due {
    /// Both parts.
    pub fn total(self) -> i64 {
        self.restricted + self.ordinary
    }
}

/// What is to be paid, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purchase {
    /// What is still to be paid of it.
    pub due: Due,
    /// What it costs in all: a voucher's minimum spend is compared with this (D33).
    pub total: i64,
    /// The usage day it is for: validity is compared with this (D32).
    pub day: UsageDay,
    /// Now.
    pub now: Timestamp,
}

/// What one lot paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What the lot is.
    pub kind: LotKind,
    /// Which lot.
    pub lot: String,
    /// Minor units; above zero.
    pub amount: i64,
    /// How much of it was for restricted items.
    pub restricted: i64,
}

/// A customer's lots and debt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wallet {
    lots: Vec<Lot>,
    overdraft: i64,
}

/// A debt or balance that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the balance does not fit")]
pub struct Overflow;

impl Wallet {
    /// Puts lots into the order they pay in. `overdraft` is zero or below.
    pub fn new(mut lots: Vec<Lot>, overdraft: i64) -> Wallet {
        lots.sort_by(|a, b| a.order().cmp(&b.order()));
        Wallet { lots, overdraft }
    }

    /// The lots, in the order they pay in; emptied ones included.
    pub fn lots(&self) -> &[Lot] {
        &self.lots
    }

    /// What is owed; zero or below.
    pub fn overdraft(&self) -> i64 {
        self.overdraft
    }

    /// The sum of a kind's balances.
    pub fn total(&self, kind: LotKind) -> i64 {
        self.lots.iter().filter(|lot| lot.kind == kind).map(|lot| lot.balance).sum()
    }

    /// Pays as much as lots of these kinds can; returns what each paid and what is left to pay.
    ///
    /// Tier by tier; where a tier can pay both, restricted items come first.
    pub fn pay(&mut self, kinds: &[LotKind], what: Purchase) -> (Vec<Part>, Due) {
        let mut left = what.due;
        let mut parts: Vec<Part> = Vec::new();
        let mut from = 0;
        while let Some(kind) = self.lots.get(from).map(|lot| lot.kind) {
            let tier = self.lots.iter().skip(from).take_while(|lot| lot.kind == kind).count();
            let until = from + tier;
            if kinds.contains(&kind) {
                let lots = &mut self.lots[from..until];
                if !kind.is_voucher() {
                    left.restricted = draw(lots, &what, left.restricted, true, &mut parts);
                }
                left.ordinary = draw(lots, &what, left.ordinary, false, &mut parts);
            }
            from = until;
        }
        (parts, left)
    }

    /// Pays all of it or nothing; `None` when the lots of these kinds cannot.
    pub fn pay_in_full(&mut self, kinds: &[LotKind], what: Purchase) -> Option<Vec<Part>> {
        let before = self.clone();
        let (parts, left) = self.pay(kinds, what);
        if left.total() == 0 {
            return Some(parts);
        }
        *self = before;
        None
    }

    /// Books an unpaid rest as debt.
    pub fn owe(&mut self, rest: i64) -> Result<(), Overflow> {
        self.overdraft = self.overdraft.checked_sub(rest).ok_or(Overflow)?;
        Ok(())
    }

    /// Adds a lot without repaying anything: vouchers are no inflow.
    pub fn add(&mut self, lot: Lot) -> Result<(), Overflow> {
        self.total(lot.kind).checked_add(lot.balance).ok_or(Overflow)?;
        let place = self.lots.partition_point(|other| other.order() < lot.order());
        self.lots.insert(place, lot);
        Ok(())
    }

    /// Takes an inflow of cash or a prepaid card: it repays the debt first (`domain.md` 3.13, 3.14). Returns what it
    /// repaid.
    pub fn take_in(&mut self, mut lot: Lot) -> Result<i64, Overflow> {
        let repaid = lot.balance.min(self.overdraft.checked_neg().ok_or(Overflow)?);
        lot.balance -= repaid;
        self.add(lot)?;
        self.overdraft += repaid;
        Ok(repaid)
    }

    /// Pays of the debt what cards and cash can today; returns what each lot paid.
    pub fn repay(&mut self, day: UsageDay, now: Timestamp) -> Result<Vec<Part>, Overflow> {
        let owed = self.overdraft.checked_neg().ok_or(Overflow)?;
        let due = Due { restricted: 0, ordinary: owed };
        let (parts, left) = self.pay(REPAYS, Purchase { due, total: owed, day, now });
        self.overdraft += owed - left.ordinary;
        Ok(parts)
    }

    /// Empties a lot; returns what it had left.
    pub fn empty(&mut self, id: &str) -> i64 {
        let found = self.lots.iter_mut().find(|lot| lot.id == id);
        found.map_or(0, |lot| std::mem::take(&mut lot.balance))
    }
}

/// Draws on lots in order until an amount is paid; returns what is left of it.
fn draw(lots: &mut [Lot], what: &Purchase, mut left: i64, restricted: bool, parts: &mut Vec<Part>) -> i64 {
    for lot in lots {
        if left <= 0 {
            break;
        }
        if !lot.can_pay(what) {
            continue;
        }
        let amount = lot.balance.min(left);
        lot.balance -= amount;
        left -= amount;
        let for_restricted = if restricted { amount } else { 0 };
        match parts.iter_mut().find(|part| part.lot == lot.id) {
            Some(part) => {
                part.amount += amount;
                part.restricted += for_restricted;
            }
            None => {
                parts.push(Part { kind: lot.kind, lot: lot.id.clone(), amount, restricted: for_restricted })
            }
        }
    }
    left
}

/// Spreads a repayment over open bills, oldest first: of each bill how much is paid now.
pub fn spread(repaid: i64, unpaid: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut left = repaid;
    let parts = unpaid.into_iter().map(|open| {
        let part = open.min(left).max(0);
        left -= part;
        part
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(n: i32) -> UsageDay {
        UsageDay::from_number(20_260_300 + n).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lot(kind: LotKind, id: &str, balance: i64) -> Lot {
        let from = Timestamp::UNIX_EPOCH;
        Lot { kind, id: id.into(), balance, opened_at: from, valid_from: from, last_day: None, min_spend: 0 }
    }

    fn bill(restricted: i64, ordinary: i64) -> Purchase {
        let due = Due { restricted, ordinary };
        Purchase { due, total: due.total(), day: day(1), now: at(100) }
    }

    fn paid(parts: &[Part]) -> Vec<(&str, i64, i64)> {
        parts.iter().map(|part| (part.lot.as_str(), part.amount, part.restricted)).collect()
    }

    #[test]
    fn tiers_pay_in_the_documented_order() {
        use LotKind::{Cash, DiscountVoucher, GeneralVoucher, PrepaidCard};
        let lots = || {
            [(Cash, "d"), (PrepaidCard, "c"), (DiscountVoucher, "b"), (GeneralVoucher, "a")]
                .map(|(kind, id)| lot(kind, id, 10))
                .to_vec()
        };
        let (parts, left) = Wallet::new(lots(), 0).pay(BILLING_CENTER, bill(0, 45));
        assert_eq!(paid(&parts), [("a", 10, 0), ("b", 10, 0), ("c", 10, 0), ("d", 10, 0)]);
        assert_eq!(left, Due { restricted: 0, ordinary: 5 });
        let (parts, left) = Wallet::new(lots(), 0).pay(CLOUD, bill(0, 45));
        assert_eq!((paid(&parts).len(), left.ordinary), (3, 15));
    }

    #[test]
    fn vouchers_never_pay_for_restricted_items_and_cards_pay_those_first() {
        let lots = vec![
            lot(LotKind::GeneralVoucher, "v", 100),
            lot(LotKind::PrepaidCard, "c1", 5),
            lot(LotKind::PrepaidCard, "c2", 5),
            lot(LotKind::Cash, "m", 100),
        ];
        let (parts, left) = Wallet::new(lots, 0).pay(BILLING_CENTER, bill(12, 103));
        assert_eq!(paid(&parts), [("v", 100, 0), ("c1", 5, 5), ("c2", 5, 5), ("m", 5, 2)]);
        assert_eq!(left.total(), 0);
    }

    #[test]
    fn inside_a_tier_the_earliest_expiry_pays_then_the_oldest_then_the_id() {
        let card = |id: &str, last: Option<i32>, opened: i64| Lot {
            last_day: last.map(day),
            opened_at: at(opened),
            ..lot(LotKind::PrepaidCard, id, 1)
        };
        let lots = vec![
            card("e", None, 1),
            card("d", Some(9), 3),
            card("c", Some(9), 2),
            card("b", Some(9), 2),
            card("a", Some(5), 7),
        ];
        let (parts, _) = Wallet::new(lots, 0).pay(BILLING_CENTER, bill(0, 5));
        let order: Vec<_> = parts.iter().map(|part| part.lot.as_str()).collect();
        assert_eq!(order, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_lot_pays_the_bill_of_its_last_day_and_no_later_one() {
        let card = Lot { last_day: Some(day(1)), ..lot(LotKind::PrepaidCard, "c", 10) };
        let pays = |day, now| {
            let what = Purchase { day, now, ..bill(0, 10) };
            Wallet::new(vec![card.clone()], 0).pay_in_full(BILLING_CENTER, what).is_some()
        };
        assert!(pays(day(1), at(9_999_999)), "the bill is made after the day");
        assert!(!pays(day(2), at(100)));
        let later = Lot { valid_from: at(200), ..lot(LotKind::Cash, "m", 10) };
        assert_eq!(Wallet::new(vec![later], 0).pay_in_full(BILLING_CENTER, bill(0, 1)), None);
    }

    #[test]
    fn a_minimum_spend_is_compared_with_the_whole_bill() {
        let voucher = Lot { min_spend: 50, ..lot(LotKind::GeneralVoucher, "v", 100) };
        let pays = |what| Wallet::new(vec![voucher.clone()], 0).pay(BILLING_CENTER, what).0.len();
        assert_eq!(pays(bill(0, 49)), 0);
        assert_eq!(pays(bill(10, 40)), 1);
    }

    #[test]
    fn states_read_as_the_customer_sees_them() {
        let state = |balance, expired, from| lot_state(balance, expired, at(from), at(10));
        assert_eq!(state(5, false, 11), LotState::Waiting);
        assert_eq!(state(5, false, 10), LotState::Active);
        assert_eq!(state(0, false, 10), LotState::UsedUp);
        assert_eq!(state(0, true, 10), LotState::Expired);
    }

    fn any_lot() -> impl Strategy<Value = Lot> {
        let kind = prop::sample::select(LotKind::ALL.to_vec());
        (kind, 0u32..10_000, 0i64..500, prop::option::of(1i32..4), 0i64..3, 0i64..200, 0i64..300).prop_map(
            |(kind, id, balance, last, opened, min_spend, from)| Lot {
                kind,
                id: format!("{}{id:05}", kind.name()),
                balance,
                opened_at: at(opened),
                valid_from: at(from),
                last_day: last.map(day),
                min_spend: if kind.is_voucher() { min_spend } else { 0 },
            },
        )
    }

    fn any_wallet() -> impl Strategy<Value = Wallet> {
        prop::collection::vec(any_lot(), 0..12).prop_map(|mut lots| {
            lots.sort_by(|a, b| a.id.cmp(&b.id));
            lots.dedup_by(|a, b| a.id == b.id);
            Wallet::new(lots, 0)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Parts and the rest are the payable; no lot goes below zero, and each gave what it lost.
        #[test]
        fn parts_and_rest_are_the_payable(
            wallet in any_wallet(), restricted in 0i64..800, ordinary in 0i64..800, cloud in any::<bool>(),
        ) {
            let kinds = if cloud { CLOUD } else { BILLING_CENTER };
            let mut after = wallet.clone();
            let what = bill(restricted, ordinary);
            let (parts, left) = after.pay(kinds, what);
            prop_assert_eq!(parts.iter().map(|p| p.amount).sum::<i64>() + left.total(), what.total);
            prop_assert_eq!(parts.iter().map(|p| p.restricted).sum::<i64>() + left.restricted, restricted);
            prop_assert!(left.restricted >= 0 && left.ordinary >= 0);
            for (old, new) in wallet.lots().iter().zip(after.lots()) {
                prop_assert_eq!(&old.id, &new.id);
                let part = parts.iter().find(|part| part.lot == old.id);
                prop_assert_eq!(old.balance - new.balance, part.map_or(0, |part| part.amount));
                prop_assert!(new.balance >= 0);
                if let Some(part) = part {
                    prop_assert!(old.can_pay(&what) && kinds.contains(&old.kind) && part.amount > 0);
                    prop_assert!(!old.kind.is_voucher() || part.restricted == 0);
                }
            }
        }

        /// A lot pays for ordinary items only when every lot before it that could is empty, and something is left
        /// unpaid only when all that could pay it are.
        #[test]
        fn nobody_jumps_the_queue(wallet in any_wallet(), restricted in 0i64..800, ordinary in 0i64..800) {
            let mut after = wallet.clone();
            let what = bill(restricted, ordinary);
            let (parts, left) = after.pay(BILLING_CENTER, what);
            let last = parts.iter().rposition(|part| part.amount > part.restricted);
            let last = last.and_then(|at| wallet.lots().iter().position(|lot| lot.id == parts[at].lot));
            let until = if left.ordinary > 0 { wallet.lots().len() } else { last.unwrap_or(0) };
            for (old, new) in wallet.lots().iter().zip(after.lots()).take(until) {
                prop_assert!(new.balance == 0 || !old.can_pay(&what));
            }
            if left.restricted > 0 {
                for (old, new) in wallet.lots().iter().zip(after.lots()).filter(|(old, _)| !old.kind.is_voucher()) {
                    prop_assert!(new.balance == 0 || !old.can_pay(&what));
                }
            }
        }

        /// All or nothing: a purchase that cannot be paid changes nothing.
        #[test]
        fn a_purchase_is_paid_in_full_or_not_at_all(wallet in any_wallet(), price in 1i64..3_000) {
            let mut after = wallet.clone();
            match after.pay_in_full(BILLING_CENTER, bill(0, price)) {
                Some(parts) => prop_assert_eq!(parts.iter().map(|p| p.amount).sum::<i64>(), price),
                None => prop_assert_eq!(after, wallet),
            }
        }

        /// An inflow repays the debt before it is a balance, and the bills' parts equal what it repaid.
        #[test]
        fn an_inflow_repays_first(owed in prop::collection::vec(1i64..1_000, 0..6), amount in 1i64..5_000, card in any::<bool>()) {
            let debt: i64 = owed.iter().sum();
            let kind = if card { LotKind::PrepaidCard } else { LotKind::Cash };
            let mut wallet = Wallet::new(vec![lot(LotKind::GeneralVoucher, "v", 7)], -debt);
            let repaid = wallet.take_in(lot(kind, "x", amount)).unwrap();
            prop_assert_eq!(repaid, amount.min(debt));
            prop_assert_eq!((wallet.overdraft(), wallet.total(kind)), (repaid - debt, amount - repaid));
            let parts = spread(repaid, owed.iter().copied());
            prop_assert_eq!(parts.iter().sum::<i64>(), repaid);
            for i in 1..parts.len() {
                prop_assert!(parts[i] == 0 || parts[i - 1] == owed[i - 1], "the oldest bill comes first");
            }
        }
    }
}
