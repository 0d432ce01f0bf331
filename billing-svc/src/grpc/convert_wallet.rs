//! Wallets, lots, recharges and ledger entries as messages.

use jiff::Timestamp;
use tandem_proto::billing::v1 as pb;
use tandem_proto::day::UsageDay;
use tandem_proto::money::Money;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::{self, to_message};

use crate::domain::card;
use crate::domain::ledger::AccountKind;
use crate::domain::wallet::{LotKind, LotState, lot_state};
use crate::store::ledger;
use crate::store::lot::{ListedLot, NewLot};
use crate::store::recharge::{Recharge, RechargeChannel, RechargeState};

/// Reads an amount that has to be above zero.
pub(super) fn amount(field: &str, message: Option<&tandem_proto::common::v1::Money>) -> Result<Money, Fault> {
    let money = message.and_then(Money::from_message);
    let money =
        money.ok_or_else(|| Fault::field(field, "must be minor units with a currency_code of CNY or USD"))?;
    if money.minor <= 0 {
        return Err(Fault::field(format!("{field}.minor_units"), "must be above 0"));
    }
    Ok(money)
}

/// Reads a voucher's minimum spend: none, or an amount in its own currency.
pub(super) fn min_spend(
    message: Option<&tandem_proto::common::v1::Money>,
    face: Money,
) -> Result<i64, Fault> {
    let Some(message) = message else { return Ok(0) };
    let spend = Money::from_message(message).filter(|spend| spend.currency == face.currency);
    let spend = spend.filter(|spend| spend.minor >= 0);
    let right = || Fault::field("min_spend", "must be 0 or above, in the currency of face_value");
    Ok(spend.ok_or_else(right)?.minor)
}

/// Reads the last day of a voucher, which must not be over.
pub(super) fn last_day(text: &str, region: BillingRegion, now: Timestamp) -> Result<UsageDay, Fault> {
    let day: UsageDay = validate::parse("last_day", text)?;
    if day < card::today(region, now) {
        return Err(Fault::field("last_day", "must be today or later"));
    }
    Ok(day)
}

fn kind_message(kind: LotKind) -> pb::LotKind {
    match kind {
        LotKind::GeneralVoucher => pb::LotKind::GeneralVoucher,
        LotKind::DiscountVoucher => pb::LotKind::DiscountVoucher,
        LotKind::PrepaidCard => pb::LotKind::PrepaidCard,
        LotKind::Cash => pb::LotKind::Cash,
    }
}

pub(super) fn lot_message(row: &ListedLot, now: Timestamp) -> pb::Lot {
    let ListedLot { lot, face, origin, expired_at } = row;
    let money = |minor| Some(Money { minor, ..*face }.to_message());
    pb::Lot {
        id: lot.id.clone(),
        kind: kind_message(lot.kind).into(),
        face_value: money(face.minor),
        balance: money(lot.balance),
        state: match lot_state(lot.balance, expired_at.is_some(), lot.valid_from, now) {
            LotState::Waiting => pb::LotState::Waiting,
            LotState::Active => pb::LotState::Active,
            LotState::UsedUp => pb::LotState::UsedUp,
            LotState::Expired => pb::LotState::Expired,
        }
        .into(),
        open_time: Some(to_message(lot.opened_at)),
        valid_from_time: Some(to_message(lot.valid_from)),
        last_day: lot.last_day.map(|day| day.to_string()).unwrap_or_default(),
        min_spend: money(lot.min_spend),
        origin: origin.clone(),
    }
}

/// A lot that has just come.
pub(super) fn new_lot_message(new: &NewLot) -> pb::Lot {
    let listed =
        ListedLot { lot: new.lot.clone(), face: new.face, origin: new.origin.clone(), expired_at: None };
    lot_message(&listed, new.lot.opened_at)
}

/// Reads which state of recharges a list is about.
pub(super) fn wished_recharge_state(state: i32) -> Result<Option<RechargeState>, Fault> {
    match pb::RechargeState::try_from(state) {
        Ok(pb::RechargeState::Unspecified) => Ok(None),
        Ok(pb::RechargeState::Created) => Ok(Some(RechargeState::Created)),
        Ok(pb::RechargeState::Paid) => Ok(Some(RechargeState::Paid)),
        Ok(pb::RechargeState::Closed) => Ok(Some(RechargeState::Closed)),
        Err(_) => Err(Fault::field("state", "must be a value of RechargeState")),
    }
}

pub(super) fn recharge_message(r: &Recharge) -> pb::Recharge {
    pb::Recharge {
        id: r.id.as_str().to_owned(),
        billing_account_id: r.billing_account.as_str().to_owned(),
        amount: Some(r.amount.to_message()),
        channel: match r.channel {
            RechargeChannel::BankTransfer => pb::RechargeChannel::BankTransfer,
            RechargeChannel::Alipay => pb::RechargeChannel::Alipay,
        }
        .into(),
        state: match r.state {
            RechargeState::Created => pb::RechargeState::Created,
            RechargeState::Paid => pb::RechargeState::Paid,
            RechargeState::Closed => pb::RechargeState::Closed,
        }
        .into(),
        external_ref: r.external_ref.clone().unwrap_or_default(),
        create_time: Some(to_message(r.created_at)),
        pay_time: r.paid_at.map(to_message),
        buys_card: r.buys_card,
        payment_url: r.payment_url.clone().unwrap_or_default(),
        expire_time: Some(to_message(r.ends_at())),
        close_time: r.closed_at.map(to_message),
    }
}

pub(super) fn entry_message(e: &ledger::Entry) -> pb::LedgerEntry {
    let kind = match e.kind {
        AccountKind::GeneralVoucher => pb::LedgerAccountKind::GeneralVoucher,
        AccountKind::DiscountVoucher => pb::LedgerAccountKind::DiscountVoucher,
        AccountKind::PrepaidCard => pb::LedgerAccountKind::PrepaidCard,
        AccountKind::Cash => pb::LedgerAccountKind::Cash,
        AccountKind::Overdraft => pb::LedgerAccountKind::Overdraft,
        AccountKind::Revenue => pb::LedgerAccountKind::Revenue,
        AccountKind::Funding => pb::LedgerAccountKind::Funding,
        AccountKind::Promotion => pb::LedgerAccountKind::Promotion,
        AccountKind::Breakage => pb::LedgerAccountKind::Breakage,
        AccountKind::Adjustment => pb::LedgerAccountKind::Adjustment,
        AccountKind::CloudClearing => pb::LedgerAccountKind::CloudClearing,
    };
    let lot = e.account.strip_prefix(e.kind.name()).and_then(|rest| rest.strip_prefix(':'));
    let is_lot = LotKind::ALL.iter().any(|lot| AccountKind::from(*lot) == e.kind);
    pb::LedgerEntry {
        transfer_id: e.transfer_id.clone(),
        account: kind.into(),
        amount: Some(e.amount.to_message()),
        balance_after: Some(e.balance_after.to_message()),
        entry_time: Some(to_message(e.entered_at)),
        cause: e.cause.name().to_owned(),
        cause_id: e.cause_id.clone(),
        lot_id: lot.filter(|_| is_lot).unwrap_or_default().to_owned(),
    }
}
