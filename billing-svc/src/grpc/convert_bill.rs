//! Bills to messages.

use tandem_proto::billing::v1 as pb;
use tandem_proto::money::Money;
use tandem_service_kit::validate::to_message;

use crate::domain::bill::{BillKind, BillState, Line, LineKind};
use crate::domain::deduction::Instrument;
use crate::store::bill::{Bill, Payment};

/// A bill with what paid it and its lines.
pub(super) fn bill(b: &Bill, payments: &[Payment], lines: &[Line]) -> pb::DailyBill {
    let money = |minor| Some(Money { minor, currency: b.currency }.to_message());
    let cloud_open = matches!(b.state, BillState::Submitted | BillState::Rejected);
    pb::DailyBill {
        id: b.id.as_str().to_owned(),
        billing_account_id: b.billing_account.as_str().to_owned(),
        workspace_id: b.workspace.as_str().to_owned(),
        workspace_name: b.workspace_name.clone(),
        usage_day: b.day.to_string(),
        kind: match b.kind {
            BillKind::Daily => pb::BillKind::Daily,
            BillKind::Final => pb::BillKind::Final,
        }
        .into(),
        settlement_method: b.method.to_message().into(),
        cloud_account_id: b.cloud_account.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        subscription_id: b.subscription.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        price_list_version: b.price_list_version.clone(),
        payable: money(b.payable),
        paid_by: payments
            .iter()
            .map(|p| pb::Payment {
                instrument: instrument(p.instrument).into(),
                amount: money(p.amount),
                pay_time: Some(to_message(p.paid_at)),
                lot_id: p.lot.clone(),
            })
            .collect(),
        // What a cloud is still to collect is not owed to the Billing Center.
        arrears: money(if cloud_open { 0 } else { b.payable - b.paid }),
        state: match b.state {
            BillState::Issued => pb::BillState::Issued,
            BillState::Submitted => pb::BillState::Submitted,
            BillState::Paid => pb::BillState::Paid,
            BillState::InArrears => pb::BillState::InArrears,
            BillState::Overdue => pb::BillState::Overdue,
            BillState::Rejected => pb::BillState::Rejected,
        }
        .into(),
        issue_time: Some(to_message(b.issued_at)),
        paid_time: b.paid_at.map(to_message),
        lines: (1..).zip(lines).map(|(number, l)| line(number, l)).collect(),
    }
}

/// What pays bills.
pub(super) fn instrument(instrument: Instrument) -> pb::PaymentInstrument {
    match instrument {
        Instrument::GeneralVoucher => pb::PaymentInstrument::GeneralVoucher,
        Instrument::DiscountVoucher => pb::PaymentInstrument::DiscountVoucher,
        Instrument::PrepaidCard => pb::PaymentInstrument::PrepaidCard,
        Instrument::Cash => pb::PaymentInstrument::Cash,
        Instrument::Cloud => pb::PaymentInstrument::Cloud,
    }
}

/// A line at a place, from 1.
pub(super) fn line(number: i32, l: &Line) -> pb::BillLine {
    pb::BillLine {
        number,
        kind: match l.kind {
            LineKind::PayAsYouGo => pb::BillLineKind::PayAsYouGo,
            LineKind::Adjustment => pb::BillLineKind::Adjustment,
            LineKind::Rounding => pb::BillLineKind::Rounding,
            LineKind::AnnualPackage => pb::BillLineKind::AnnualPackage,
        }
        .into(),
        item: l.item.map_or(0, |item| item.to_message().into()),
        retention_days: l.retention_days,
        sub_key: l.sub_key.clone(),
        quantity_hundredths: l.quantity.hundredths,
        unit_size: l.price.unit_size,
        unit_price: Some(l.price.unit_price.to_message()),
        amount: Some(l.amount.to_message()),
        adjusted_day: l.adjusted_day.map(|day| day.to_string()).unwrap_or_default(),
        package_id: l.package.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
    }
}
