//! What pays a bill, and what an inflow pays (`domain.md` 4.2, 3.13).
//!
//! Vouchers and prepaid cards will be tiers before cash and before the cloud; the shape is made for them.

use tandem_proto::names;
use tandem_proto::vendor::Vendor;

use super::ledger::{Account, Cause, Transfer, Unbalanced};

names! {
    /// What pays bills.
    Instrument: "cash, cloud";
    /// The cash balance.
    Cash = "cash";
    /// The cloud account.
    Cloud = "cloud";
}

/// A customer's balances in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wallet {
    /// Never below zero.
    pub cash: i64,
    /// What is owed; never above zero.
    pub overdraft: i64,
}

/// How a bill is paid: `paid + rest = payable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deduction {
    /// Paid from cash.
    pub cash: i64,
    /// Booked as overdraft.
    pub rest: i64,
}

impl Wallet {
    /// Pays a bill by Billing Center settlement: cash, then overdraft. Returns the wallet after it.
    pub fn deduct(self, payable: i64) -> (Deduction, Wallet) {
        let cash = self.cash.min(payable).max(0);
        let rest = payable - cash;
        (Deduction { cash, rest }, Wallet { cash: self.cash - cash, overdraft: self.overdraft - rest })
    }

    /// Takes an inflow: it repays the overdraft first, the rest is cash. Returns what it repaid and the wallet after it;
    /// `None` when the balance does not fit.
    pub fn take_in(self, amount: i64) -> Option<(i64, Wallet)> {
        let repaid = amount.min(self.overdraft.checked_neg()?);
        let cash = self.cash.checked_add(amount - repaid)?;
        Some((repaid, Wallet { cash, overdraft: self.overdraft + repaid }))
    }
}

impl Deduction {
    /// The ledger transfer of a deduction.
    pub fn transfer(self, bill_id: &str) -> Result<Transfer, Unbalanced> {
        let legs = [
            (Account::Cash, -self.cash),
            (Account::Overdraft, -self.rest),
            (Account::Revenue, self.cash + self.rest),
        ];
        Transfer::new(Cause::Bill(bill_id.to_owned()), legs)
    }
}

/// The ledger transfer of a bill that a cloud has taken over. It never touches cash or overdraft.
pub fn cloud_transfer(bill_id: &str, vendor: Vendor, amount: i64) -> Result<Transfer, Unbalanced> {
    let legs = [(Account::CloudClearing(vendor), -amount), (Account::Revenue, amount)];
    Transfer::new(Cause::CloudBill(bill_id.to_owned()), legs)
}

/// The ledger transfer of an inflow that repaid a part of the overdraft.
pub fn recharge_transfer(recharge_id: &str, amount: i64, repaid: i64) -> Result<Transfer, Unbalanced> {
    let legs = [(Account::Funding, -amount), (Account::Overdraft, repaid), (Account::Cash, amount - repaid)];
    Transfer::new(Cause::Recharge(recharge_id.to_owned()), legs)
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Paid parts equal the payable, cash never goes below zero, and the ledger says the same as the wallet.
        #[test]
        fn deduction_pays_exactly_the_payable(cash in 0i64..1_000_000, owed in 0i64..1_000_000, payable in 1i64..1_000_000) {
            let wallet = Wallet { cash, overdraft: -owed };
            let (deduction, after) = wallet.deduct(payable);
            prop_assert_eq!(deduction.cash + deduction.rest, payable);
            prop_assert!(after.cash >= 0 && after.overdraft <= 0 && deduction.cash >= 0 && deduction.rest >= 0);
            let transfer = deduction.transfer("bil_1").unwrap();
            let leg = |account| transfer.legs().iter().filter(|l| l.0 == account).map(|l| l.1).sum::<i64>();
            prop_assert_eq!(leg(Account::Cash), after.cash - wallet.cash);
            prop_assert_eq!(leg(Account::Overdraft), after.overdraft - wallet.overdraft);
            prop_assert_eq!(leg(Account::Revenue), payable);
        }

        /// An inflow repays the debt before it becomes cash, and the bills' parts equal what it repaid.
        #[test]
        fn an_inflow_repays_first(cash in 0i64..1_000, bills in prop::collection::vec(1i64..1_000, 0..6), amount in 1i64..5_000) {
            let owed: i64 = bills.iter().sum();
            let (repaid, after) = Wallet { cash, overdraft: -owed }.take_in(amount).unwrap();
            prop_assert_eq!(repaid, amount.min(owed));
            prop_assert_eq!(after, Wallet { cash: cash + amount - repaid, overdraft: repaid - owed });
            let parts = spread(repaid, bills.iter().copied());
            prop_assert_eq!(parts.iter().sum::<i64>(), repaid);
            // Oldest first: a bill gets something only when all before it are paid.
            for i in 1..parts.len() {
                prop_assert!(parts[i] == 0 || parts[i - 1] == bills[i - 1]);
            }
            prop_assert!(recharge_transfer("rch_1", amount, repaid).is_ok());
        }
    }

    #[test]
    fn a_cloud_bill_never_touches_cash() {
        let transfer = cloud_transfer("bil_1", Vendor::Alibaba, 1340).unwrap();
        assert!(
            transfer.legs().iter().all(|(account, _)| !matches!(account, Account::Cash | Account::Overdraft))
        );
    }
}
