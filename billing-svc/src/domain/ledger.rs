//! The double-entry ledger: transfers that add up to zero, balances that are folds over entries (I-01…I-07).
//!
//! Signs: a balance is what the account holds. A lot is never below zero, `overdraft` never above it; `revenue` and
//! `breakage` grow with what was earned; `funding`, `promotion` and the clearings go down by what came in, was given
//! away or will come in from outside. A transfer's id is derived from its cause, so that a replay meets its own key. The
//! accounts of a customer belong to that customer alone: there is no row that everybody updates.

use tandem_proto::names;
use tandem_proto::vendor::Vendor;

use super::wallet::LotKind;

names! {
    /// What a ledger account is.
    AccountKind: "general_voucher, discount_voucher, prepaid_card, cash, overdraft, revenue, funding, promotion, \
        breakage, adjustment, cloud_clearing";
    /// Credit that was granted.
    GeneralVoucher = "general_voucher";
    /// Credit that came with a prepaid card.
    DiscountVoucher = "discount_voucher";
    /// Prepaid credit.
    PrepaidCard = "prepaid_card";
    /// The customer's cash.
    Cash = "cash";
    /// What the customer owes.
    Overdraft = "overdraft";
    /// What was earned.
    Revenue = "revenue";
    /// Money that came in from outside, or went back.
    Funding = "funding";
    /// Credit that was given away.
    Promotion = "promotion";
    /// What was lost at expiry.
    Breakage = "breakage";
    /// What staff corrected.
    Adjustment = "adjustment";
    /// What a cloud will pay us.
    CloudClearing = "cloud_clearing";
}

impl AccountKind {
    /// Whether the customer sees it: the balances and the debt, not our books.
    pub fn is_the_customers(self) -> bool {
        match self {
            AccountKind::GeneralVoucher
            | AccountKind::DiscountVoucher
            | AccountKind::PrepaidCard
            | AccountKind::Cash
            | AccountKind::Overdraft => true,
            AccountKind::Revenue
            | AccountKind::Funding
            | AccountKind::Promotion
            | AccountKind::Breakage
            | AccountKind::Adjustment
            | AccountKind::CloudClearing => false,
        }
    }
}

impl From<LotKind> for AccountKind {
    fn from(kind: LotKind) -> AccountKind {
        match kind {
            LotKind::GeneralVoucher => AccountKind::GeneralVoucher,
            LotKind::DiscountVoucher => AccountKind::DiscountVoucher,
            LotKind::PrepaidCard => AccountKind::PrepaidCard,
            LotKind::Cash => AccountKind::Cash,
        }
    }
}

/// One of a customer's ledger accounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// A lot, by kind and id.
    Lot(LotKind, String),
    /// What the customer owes.
    Overdraft,
    /// What was earned from the customer.
    Revenue,
    /// Money of the customer that came in from outside, less what went back.
    Funding,
    /// Credit that was given to the customer.
    Promotion,
    /// What the customer lost at expiry.
    Breakage,
    /// What staff corrected.
    Adjustment,
    /// What a cloud will pay us for the customer.
    CloudClearing(Vendor),
}

impl Account {
    /// Its kind.
    pub fn kind(&self) -> AccountKind {
        match self {
            Account::Lot(kind, _) => (*kind).into(),
            Account::Overdraft => AccountKind::Overdraft,
            Account::Revenue => AccountKind::Revenue,
            Account::Funding => AccountKind::Funding,
            Account::Promotion => AccountKind::Promotion,
            Account::Breakage => AccountKind::Breakage,
            Account::Adjustment => AccountKind::Adjustment,
            Account::CloudClearing(_) => AccountKind::CloudClearing,
        }
    }

    /// Its name inside the customer's ledger.
    pub fn name(&self) -> String {
        match self {
            Account::Lot(kind, id) => format!("{}:{id}", kind.name()),
            Account::CloudClearing(vendor) => format!("cloud_clearing:{vendor}"),
            other => other.kind().name().to_owned(),
        }
    }
}

names! {
    /// What kind of thing caused a transfer.
    CauseKind: "bill, bill_moved, cloud_bill, recharge, repayment, voucher, card, package, expiry, adjustment, refund";
    /// A bill was paid from the customer's balances when it was issued.
    Bill = "bill";
    /// A bill that no cloud took was paid from the customer's balances.
    BillMoved = "bill_moved";
    /// A bill was settled by a cloud.
    CloudBill = "cloud_bill";
    /// Money came in.
    Recharge = "recharge";
    /// An inflow paid debt.
    Repayment = "repayment";
    /// A voucher was given.
    Voucher = "voucher";
    /// A prepaid card was bought.
    Card = "card";
    /// A package was bought.
    Package = "package";
    /// A lot's last day was over.
    Expiry = "expiry";
    /// Staff corrected a balance.
    Adjustment = "adjustment";
    /// Money went back to the customer.
    Refund = "refund";
}

/// What caused a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What kind of thing.
    pub kind: CauseKind,
    /// Which one.
    pub id: String,
}

impl Cause {
    /// Names a cause.
    pub fn new(kind: CauseKind, id: impl Into<String>) -> Cause {
        Cause { kind, id: id.into() }
    }

    /// The id of the transfer it causes; the same cause always has the same.
    pub fn transfer_id(&self) -> String {
        format!("{}:{}", self.kind.name(), self.id)
    }
}

/// Amounts that move between a customer's ledger accounts, in one currency, adding up to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What caused it.
    pub cause: Cause,
    legs: Vec<(Account, i64)>,
}

/// Legs that do not add up to zero, or do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a transfer's legs must add up to zero")]
pub struct Unbalanced;

impl Transfer {
    /// Makes a transfer; legs of nothing are left out.
    pub fn new(cause: Cause, legs: impl IntoIterator<Item = (Account, i64)>) -> Result<Transfer, Unbalanced> {
        let legs: Vec<_> = legs.into_iter().filter(|(_, minor)| *minor != 0).collect();
        let sum = legs.iter().try_fold(0_i64, |sum, (_, minor)| sum.checked_add(*minor));
        if sum == Some(0) { Ok(Transfer { cause, legs }) } else { Err(Unbalanced) }
    }

    /// Whether nothing moves.
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    /// The accounts and by how many minor units each changes.
    pub fn legs(&self) -> &[(Account, i64)] {
        &self.legs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cash() -> Account {
        Account::Lot(LotKind::Cash, "rch_1".into())
    }

    #[test]
    fn a_transfer_that_makes_money_is_refused() {
        let cause = || Cause::new(CauseKind::Bill, "bil_1");
        assert_eq!(Transfer::new(cause(), [(cash(), -5), (Account::Revenue, 4)]), Err(Unbalanced));
        assert_eq!(Transfer::new(cause(), [(cash(), i64::MAX), (Account::Revenue, 1)]), Err(Unbalanced));
        assert!(
            Transfer::new(cause(), [(cash(), -5), (Account::Revenue, 5), (Account::Overdraft, 0)]).is_ok()
        );
    }

    #[test]
    fn each_lot_has_an_account_of_its_own() {
        assert_eq!(cash().name(), "cash:rch_1");
        assert_ne!(cash().name(), Account::Lot(LotKind::PrepaidCard, "rch_1".into()).name());
        assert_eq!(Account::CloudClearing(Vendor::Aws).name(), "cloud_clearing:aws");
    }
}
