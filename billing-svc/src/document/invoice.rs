//! The document of an invoice request.

use tandem_proto::language::Language;
use tandem_proto::money::Currency;

use super::bill::total;
use super::sheet::{Align, Cell, Column, Fact, Mood, Row, Sheet, Table};
use super::words::{self, say};
use crate::domain::account::BillingAccount;
use crate::domain::invoice::{Line, Source};
use crate::store::invoice::Invoice;

/// What an invoice's document says. Its lines add up to its amount.
pub fn invoice(payer: &BillingAccount, invoice: &Invoice, lines: &[Line], language: Language) -> Sheet {
    let zone = payer.region.time_zone();
    let moment = |at: Option<jiff::Timestamp>| at.map(|at| words::moment(at, zone)).unwrap_or_default();
    let made_at = [invoice.issued_at, invoice.sent_at, invoice.rejected_at].into_iter().flatten().max();
    let label = |zh, en, value: &str| match (value.is_empty(), language) {
        (true, _) => None,
        (false, Language::Zh) => Some(format!("{zh}：{value}")),
        (false, Language::En) => Some(format!("{en}: {value}")),
    };
    let details = &invoice.details;
    let addressee = [
        Some(invoice.title.clone()),
        label("纳税人识别号", "Taxpayer ID", &invoice.taxpayer_id),
        label("开户银行", "Bank", &details.bank),
        label("银行账号", "Bank account", &details.bank_account),
        label("注册地址", "Registered address", &details.registered_address),
        label("注册电话", "Landline", &details.landline),
    ];
    let mut totals =
        vec![total(say(language, "开票金额", "Invoice amount"), words::money(invoice.amount), true)];
    let mut notes = Vec::new();
    if language == Language::Zh && invoice.amount.currency == Currency::Cny {
        notes.push(format!("金额大写：人民币{}", words::capital_yuan(invoice.amount.minor)));
    }
    if lines.len() > 1 {
        totals.insert(0, total(say(language, "项目数", "Items"), lines.len().to_string(), false));
    }
    notes.push(
        say(
            language,
            "本文件为开票申请凭证，不是税务发票。代金券、储值卡及云市场支付的部分不在开票范围内。",
            "This document states what was asked for; it is not the tax invoice itself. What vouchers, prepaid cards and \
             clouds paid is not part of it.",
        )
        .to_owned(),
    );
    Sheet {
        language,
        title: say(language, "开票申请单", "Invoice request").to_owned(),
        number: invoice.id.as_str().to_owned(),
        made_at: made_at.unwrap_or(invoice.requested_at),
        addressee: addressee.into_iter().flatten().collect(),
        addressee_label: say(language, "发票抬头", "Invoice to").to_owned(),
        facts: vec![
            Fact::new(say(language, "发票类型", "Kind"), words::invoice_kind(details.kind, language)),
            Fact::new(say(language, "状态", "State"), words::invoice_state(invoice.state, language)),
            Fact::new(say(language, "发票号码", "Invoice number"), invoice.number.as_deref().unwrap_or("")),
            Fact::new(say(language, "申请时间", "Requested"), words::moment(invoice.requested_at, zone)),
            Fact::new(say(language, "开具时间", "Issued"), moment(invoice.issued_at)),
            Fact::new(say(language, "寄出时间", "Sent"), moment(invoice.sent_at)),
            Fact::new(say(language, "物流信息", "Consignment"), &invoice.tracking),
            Fact::new(say(language, "驳回时间", "Rejected"), moment(invoice.rejected_at)),
            Fact::new(say(language, "驳回原因", "Reason"), &invoice.reason),
        ],
        tables: vec![lines_table(invoice, lines, language)],
        totals,
        closing: vec![delivery_table(invoice, language)],
        notes,
    }
}

fn lines_table(invoice: &Invoice, lines: &[Line], language: Language) -> Table {
    let row = |line: &Line| {
        let (what, which) = match &line.source {
            Source::Month(month) => (say(language, "月账单", "Monthly bill"), month.to_string()),
            Source::Card(card) => (say(language, "购买储值卡", "Prepaid card"), card.to_string()),
        };
        let amount = words::minor(line.amount);
        Row { mood: Mood::Plain, cells: vec![Cell::new(what), Cell::new(which), Cell::new(amount)] }
    };
    let mut rows: Vec<Row> = lines.iter().map(row).collect();
    let sum: i64 = lines.iter().map(|line| line.amount).sum();
    let cells = vec![Cell::new(say(language, "合计", "Sum")), Cell::default(), Cell::new(words::minor(sum))];
    rows.push(Row { mood: Mood::Sum, cells });
    let amount = format!("{} ({})", say(language, "金额", "Amount"), invoice.amount.currency);
    Table {
        heading: say(language, "开票项目", "What it is for").to_owned(),
        columns: vec![
            Column::new(say(language, "项目", "Item"), 30, Align::Left),
            Column::new(say(language, "账期或编号", "Period or number"), 46, Align::Left),
            Column::new(&amount, 24, Align::Right),
        ],
        rows,
    }
}

fn delivery_table(invoice: &Invoice, language: Language) -> Table {
    let to = &invoice.address;
    let named =
        |label: &str, value: &str| Row { mood: Mood::Plain, cells: vec![Cell::new(label), Cell::new(value)] };
    let rows = [
        (say(language, "收件人", "Recipient"), &to.recipient),
        (say(language, "电话", "Phone"), &to.phone),
        (say(language, "邮箱", "Email"), &to.email),
        (say(language, "地址", "Address"), &to.postal),
    ];
    Table {
        heading: say(language, "寄送信息", "Delivery").to_owned(),
        columns: vec![
            Column::new(say(language, "项目", "Field"), 24, Align::Left),
            Column::new(say(language, "内容", "Value"), 76, Align::Left),
        ],
        rows: rows.into_iter().filter(|(_, v)| !v.is_empty()).map(|(l, v)| named(l, v)).collect(),
    }
}
