//! What moves in a customer's ledger when bills are paid, money comes in and credit is lost (`domain.md` 4.2, 3.13, 3.14).

use jiff::Timestamp;
use tandem_proto::names;
use tandem_proto::vendor::Vendor;

use super::ledger::{Account, Cause, CauseKind, Transfer, Unbalanced};
use super::wallet::{LotKind, Part};

names! {
    /// What pays bills.
    Instrument: "general_voucher, discount_voucher, prepaid_card, cash, cloud";
    /// A granted voucher.
    GeneralVoucher = "general_voucher";
    /// A voucher that came with a card.
    DiscountVoucher = "discount_voucher";
    /// A prepaid card.
    PrepaidCard = "prepaid_card";
    /// Cash.
    Cash = "cash";
    /// The cloud account.
    Cloud = "cloud";
}

impl From<LotKind> for Instrument {
    fn from(kind: LotKind) -> Instrument {
        match kind {
            LotKind::GeneralVoucher => Instrument::GeneralVoucher,
            LotKind::DiscountVoucher => Instrument::DiscountVoucher,
            LotKind::PrepaidCard => Instrument::PrepaidCard,
            LotKind::Cash => Instrument::Cash,
        }
    }
}

/// What lots give, as legs.
fn given(parts: &[Part]) -> impl Iterator<Item = (Account, i64)> + '_ {
    parts.iter().map(|part| (Account::Lot(part.kind, part.lot.clone()), -part.amount))
}

fn total(parts: &[Part]) -> i64 {
    parts.iter().map(|part| part.amount).sum()
}

/// A bill is paid by lots; what they could not pay and no cloud takes is owed.
pub fn bill(cause: Cause, parts: &[Part], owed: i64) -> Result<Transfer, Unbalanced> {
    let earned = total(parts).checked_add(owed).ok_or(Unbalanced)?;
    Transfer::new(cause, given(parts).chain([(Account::Overdraft, -owed), (Account::Revenue, earned)]))
}

/// A cloud has taken a bill's rest over. It never touches the customer's lots or debt.
pub fn cloud_bill(bill_id: &str, vendor: Vendor, amount: i64) -> Result<Transfer, Unbalanced> {
    let legs = [(Account::CloudClearing(vendor), -amount), (Account::Revenue, amount)];
    Transfer::new(Cause::new(CauseKind::CloudBill, bill_id), legs)
}

/// A lot comes from one of our books: money from `Funding`, credit from `Promotion`, a correction from `Adjustment`.
pub fn inflow(
    cause: Cause,
    from: Account,
    kind: LotKind,
    lot: &str,
    amount: i64,
) -> Result<Transfer, Unbalanced> {
    Transfer::new(cause, [(from, -amount), (Account::Lot(kind, lot.to_owned()), amount)])
}

/// A lot that came in pays debt.
pub fn repayment(kind: LotKind, lot: &str, repaid: i64) -> Result<Transfer, Unbalanced> {
    repaid_by(kind, lot, repaid, lot.to_owned())
}

/// A lot that has been there for longer pays debt, perhaps not for the first time.
pub fn late_repayment(kind: LotKind, lot: &str, repaid: i64, now: Timestamp) -> Result<Transfer, Unbalanced> {
    repaid_by(kind, lot, repaid, format!("{lot}:{}", now.as_microsecond()))
}

fn repaid_by(kind: LotKind, lot: &str, repaid: i64, cause_id: String) -> Result<Transfer, Unbalanced> {
    let legs = [(Account::Lot(kind, lot.to_owned()), -repaid), (Account::Overdraft, repaid)];
    Transfer::new(Cause::new(CauseKind::Repayment, cause_id), legs)
}

/// Lots buy a prepaid card.
pub fn card(card_id: &str, parts: &[Part]) -> Result<Transfer, Unbalanced> {
    let bought = (Account::Lot(LotKind::PrepaidCard, card_id.to_owned()), total(parts));
    Transfer::new(Cause::new(CauseKind::Card, card_id), given(parts).chain([bought]))
}

/// Lots give to one of our books: a package is earned, a refund leaves, a correction is taken back.
pub fn outflow(cause: Cause, parts: &[Part], to: Account) -> Result<Transfer, Unbalanced> {
    Transfer::new(cause, given(parts).chain([(to, total(parts))]))
}

/// What a lot had left at its expiry is lost.
pub fn expiry(kind: LotKind, lot: &str, left: i64) -> Result<Transfer, Unbalanced> {
    let legs = [(Account::Lot(kind, lot.to_owned()), -left), (Account::Breakage, left)];
    Transfer::new(Cause::new(CauseKind::Expiry, lot), legs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: LotKind, lot: &str, amount: i64) -> Part {
        Part { kind, lot: lot.into(), amount, restricted: 0 }
    }

    #[test]
    fn a_bill_earns_what_lots_and_debt_give() {
        let parts = [part(LotKind::PrepaidCard, "crd_1", 30), part(LotKind::Cash, "rch_1", 12)];
        let transfer = bill(Cause::new(CauseKind::Bill, "bil_1"), &parts, 8).unwrap();
        let leg = |account: Account| transfer.legs().iter().find(|leg| leg.0 == account).map(|leg| leg.1);
        assert_eq!(leg(Account::Lot(LotKind::PrepaidCard, "crd_1".into())), Some(-30));
        assert_eq!(leg(Account::Overdraft), Some(-8));
        assert_eq!(leg(Account::Revenue), Some(50));
    }

    #[test]
    fn a_cloud_bill_never_touches_the_customers_accounts() {
        let transfer = cloud_bill("bil_1", Vendor::Alibaba, 1340).unwrap();
        assert!(transfer.legs().iter().all(|(account, _)| !account.kind().is_the_customers()));
    }

    #[test]
    fn transfers_of_one_thing_have_different_ids() {
        let ids = [
            bill(Cause::new(CauseKind::Bill, "x"), &[], 1).unwrap(),
            bill(Cause::new(CauseKind::BillMoved, "x"), &[], 1).unwrap(),
            cloud_bill("x", Vendor::Aws, 1).unwrap(),
            repayment(LotKind::Cash, "x", 1).unwrap(),
            expiry(LotKind::Cash, "x", 1).unwrap(),
            card("x", &[part(LotKind::Cash, "y", 1)]).unwrap(),
        ]
        .map(|transfer| transfer.cause.transfer_id());
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
    }
}
