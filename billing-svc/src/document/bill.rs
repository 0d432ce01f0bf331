//! The document of a daily bill.

use tandem_proto::language::Language;
use tandem_proto::money::Money;

use super::sheet::{Align, Cell, Column, Fact, Mood, Row, Sheet, Table, Total};
use super::words::{self, say};
use crate::domain::account::BillingAccount;
use crate::domain::bill::{BillState, Line, LineKind};
use crate::store::bill::{Bill, Payment};

/// What a bill's document says. Its lines add up to the payable, its payments and what is open as well.
pub fn bill(
    payer: &BillingAccount,
    bill: &Bill,
    lines: &[Line],
    payments: &[Payment],
    language: Language,
) -> Sheet {
    let zone = payer.region.time_zone();
    let money = |minor| words::money(Money { minor, currency: bill.currency });
    let paid_at = bill.paid_at.map(|at| words::moment(at, zone)).unwrap_or_default();
    let mut tables = vec![lines_table(bill, lines, language)];
    if !payments.is_empty() {
        tables.push(payments_table(bill, payments, zone, language));
    }
    let open = bill.payable - bill.paid;
    // What a cloud is still to collect is not owed to the Billing Center.
    let open_label = match bill.state {
        BillState::Submitted | BillState::Rejected => {
            say(language, "由云市场收取", "To be collected by the cloud")
        }
        _ => say(language, "未付金额", "Outstanding"),
    };
    Sheet {
        language,
        title: words::bill_title(bill.kind, language).to_owned(),
        number: bill.id.as_str().to_owned(),
        made_at: bill.issued_at,
        addressee: addressee(payer),
        addressee_label: say(language, "客户", "Bill to").to_owned(),
        facts: vec![
            Fact::new(say(language, "工作空间", "Workspace"), &bill.workspace_name),
            Fact::new(say(language, "工作空间编号", "Workspace ID"), bill.workspace.as_str()),
            Fact::new(say(language, "用量日期", "Usage day"), bill.day.to_string()),
            Fact::new(say(language, "出账时间", "Issued"), words::moment(bill.issued_at, zone)),
            Fact::new(say(language, "结算方式", "Settled by"), words::method(bill.method, language)),
            Fact::new(say(language, "价格版本", "Price list"), &bill.price_list_version),
            Fact::new(say(language, "状态", "State"), words::bill_state(bill.state, language)),
            Fact::new(say(language, "结清时间", "Paid in full"), paid_at),
        ],
        tables,
        totals: vec![
            total(say(language, "应付总额", "Total payable"), money(bill.payable), true),
            total(say(language, "已付金额", "Paid"), money(bill.paid), false),
            total(open_label, money(open), false),
        ],
        closing: Vec::new(),
        notes: vec![not_a_tax_invoice(language).to_owned()],
    }
}

/// Whom bills go to.
pub(super) fn addressee(payer: &BillingAccount) -> Vec<String> {
    let lines = [payer.company.name.clone(), payer.username.clone(), payer.email.clone()];
    lines.into_iter().filter(|line| !line.trim().is_empty()).collect()
}

pub(super) fn total(label: &str, value: String, strong: bool) -> Total {
    Total { label: label.to_owned(), value, strong }
}

/// What every document that is no tax invoice says.
pub(super) fn not_a_tax_invoice(language: Language) -> &'static str {
    say(
        language,
        "本文件为消费凭证，不是税务发票。如需发票，请在计费中心申请开具。",
        "This document states what was consumed; it is not a tax invoice. Ask for an invoice in the Billing Center.",
    )
}

fn lines_table(bill: &Bill, lines: &[Line], language: Language) -> Table {
    let places = words::places(lines.iter().map(|line| line.amount));
    let row = |line: &Line| {
        let quantity = line.item.map(|item| words::quantity(line.quantity, item)).unwrap_or_default();
        let price = line.item.map(|item| {
            let price = words::amount(line.price.unit_price, words::places([line.price.unit_price]));
            Cell::explained(price, words::per(item, line.price.unit_size, language))
        });
        Row {
            mood: Mood::Plain,
            cells: vec![
                Cell::explained(name(line, language), detail(line, language)),
                Cell::new(quantity),
                price.unwrap_or_default(),
                Cell::new(words::amount(line.amount, places)),
            ],
        }
    };
    Table {
        heading: say(language, "消费明细", "Consumption").to_owned(),
        columns: vec![
            Column::new(say(language, "计费项", "Item"), 40, Align::Left),
            Column::new(say(language, "用量", "Quantity"), 22, Align::Right),
            Column::new(&with_currency(say(language, "单价", "Unit price"), bill), 18, Align::Right),
            Column::new(&with_currency(say(language, "金额", "Amount"), bill), 20, Align::Right),
        ],
        rows: lines.iter().map(row).collect(),
    }
}

fn with_currency(head: &str, bill: &Bill) -> String {
    format!("{head} ({})", bill.currency)
}

fn name(line: &Line, language: Language) -> &'static str {
    line.item.map_or(say(language, "取整", "Rounding"), |item| words::item(item, language))
}

/// What tells a line from others of its item.
fn detail(line: &Line, language: Language) -> String {
    let mut parts = Vec::new();
    if let Some(day) = line.adjusted_day.filter(|_| line.kind == LineKind::Adjustment) {
        parts.push(format!("{} {day}", say(language, "补计", "adjusts")));
    }
    if line.retention_days > 0 {
        parts.push(match language {
            Language::Zh => format!("保存 {} 天", line.retention_days),
            Language::En => format!("kept {} days", line.retention_days),
        });
    }
    if !line.sub_key.is_empty() {
        parts.push(line.sub_key.clone());
    }
    parts.join(" · ")
}

fn payments_table(bill: &Bill, payments: &[Payment], zone: &str, language: Language) -> Table {
    let row = |p: &Payment| Row {
        mood: Mood::Plain,
        cells: vec![
            Cell::new(words::moment(p.paid_at, zone)),
            Cell::explained(words::instrument(p.instrument, language), p.lot.clone()),
            Cell::new(words::minor(p.amount)),
        ],
    };
    Table {
        heading: say(language, "付款明细", "Payments").to_owned(),
        columns: vec![
            Column::new(say(language, "付款时间", "Paid at"), 34, Align::Left),
            Column::new(say(language, "付款方式", "Paid by"), 44, Align::Left),
            Column::new(&with_currency(say(language, "金额", "Amount"), bill), 22, Align::Right),
        ],
        rows: payments.iter().map(row).collect(),
    }
}
