//! The document of an account's month.

use jiff::Timestamp;
use tandem_proto::language::Language;
use tandem_proto::money::{LineAmount, Money};

use super::bill::{addressee, not_a_tax_invoice, total};
use super::sheet::{Align, Cell, Column, Fact, Mood, Row, Sheet, Table};
use super::words::{self, say};
use crate::domain::account::BillingAccount;
use crate::domain::deduction::Instrument;
use crate::domain::invoice::Month;
use crate::store::month_sheet::{ItemSum, WorkspaceMonth};

/// What a month's document says.
#[derive(Debug, Clone)]
pub struct MonthSheet {
    /// The month.
    pub month: Month,
    /// When its bill was generated.
    pub generated_at: Timestamp,
    /// What was used of each item in all; `None` is what rounding added.
    pub items: Vec<ItemSum>,
    /// The workspaces, in the order they are shown.
    pub workspaces: Vec<WorkspaceMonth>,
    /// Further workspaces that are shown as one: how many, and what they cost in minor units.
    pub further: Option<(i64, i64)>,
    /// Minor units paid by each instrument.
    pub paid_by: Vec<(Instrument, i64)>,
    /// Minor units to be paid in all.
    pub payable: i64,
    /// Minor units that clouds still have to collect.
    pub with_clouds: i64,
    /// Minor units that are open to be invoiced.
    pub invoiceable: i64,
}

/// Lays a month out: by item over all workspaces, then by workspace. Each table adds up to the payable.
pub fn month(payer: &BillingAccount, sheet: &MonthSheet, language: Language) -> Sheet {
    let zone = payer.region.time_zone();
    let money = |minor| words::money(Money { minor, currency: payer.currency });
    let paid: i64 = sheet.paid_by.iter().map(|(_, minor)| minor).sum();
    let open = sheet.payable - paid - sheet.with_clouds;
    let mut totals = vec![total(say(language, "应付总额", "Total payable"), money(sheet.payable), true)];
    for (instrument, minor) in &sheet.paid_by {
        let label = match language {
            Language::Zh => format!("{}支付", words::instrument(*instrument, language)),
            Language::En => format!("Paid by {}", words::instrument(*instrument, language).to_lowercase()),
        };
        totals.push(total(&label, money(*minor), false));
    }
    if sheet.with_clouds > 0 {
        let label = say(language, "由云市场收取", "To be collected by clouds");
        totals.push(total(label, money(sheet.with_clouds), false));
    }
    totals.push(total(say(language, "未付金额", "Outstanding"), money(open), false));
    let invoiceable = say(language, "可开票金额", "Open to be invoiced");
    totals.push(total(invoiceable, money(sheet.invoiceable), false));
    let period = format!("{} – {}", sheet.month.first_day(), sheet.month.last_day());
    Sheet {
        language,
        title: say(language, "月账单", "Monthly bill").to_owned(),
        number: sheet.month.to_string(),
        made_at: sheet.generated_at,
        addressee: addressee(payer),
        addressee_label: say(language, "客户", "Bill to").to_owned(),
        facts: vec![
            Fact::new(say(language, "账期", "Period"), period),
            Fact::new(say(language, "出账时间", "Generated"), words::moment(sheet.generated_at, zone)),
            Fact::new(say(language, "账户编号", "Account"), payer.id.as_str()),
            Fact::new(say(language, "币种", "Currency"), payer.currency.code()),
        ],
        tables: vec![by_item(payer, sheet, language), by_workspace(payer, sheet, language)],
        totals,
        closing: Vec::new(),
        notes: vec![not_a_tax_invoice(language).to_owned()],
    }
}

fn columns(payer: &BillingAccount, first: &str, language: Language) -> Vec<Column> {
    let amount = format!("{} ({})", say(language, "金额", "Amount"), payer.currency);
    vec![
        Column::new(first, 52, Align::Left),
        Column::new(say(language, "用量", "Quantity"), 26, Align::Right),
        Column::new(&amount, 22, Align::Right),
    ]
}

fn item_row(sum: &ItemSum, payer: &BillingAccount, places: usize, language: Language) -> Row {
    let name = sum.item.map_or(say(language, "取整", "Rounding"), |item| words::item(item, language));
    let quantity = sum.item.map(|item| words::quantity(sum.quantity, item)).unwrap_or_default();
    let amount = LineAmount { micros: sum.micros, currency: payer.currency };
    Row {
        mood: Mood::Plain,
        cells: vec![Cell::new(name), Cell::new(quantity), Cell::new(words::amount(amount, places))],
    }
}

fn places<'a>(sums: impl IntoIterator<Item = &'a ItemSum>, payer: &BillingAccount) -> usize {
    let currency = payer.currency;
    words::places(sums.into_iter().map(|sum| LineAmount { micros: sum.micros, currency }))
}

fn by_item(payer: &BillingAccount, sheet: &MonthSheet, language: Language) -> Table {
    let places = places(&sheet.items, payer);
    let mut rows: Vec<Row> = sheet.items.iter().map(|sum| item_row(sum, payer, places, language)).collect();
    rows.push(Row {
        mood: Mood::Sum,
        cells: vec![
            Cell::new(say(language, "合计", "Sum")),
            Cell::default(),
            Cell::new(words::minor(sheet.payable)),
        ],
    });
    Table {
        heading: say(language, "按计费项汇总", "By item").to_owned(),
        columns: columns(payer, say(language, "计费项", "Item"), language),
        rows,
    }
}

fn by_workspace(payer: &BillingAccount, sheet: &MonthSheet, language: Language) -> Table {
    let places = places(sheet.workspaces.iter().flat_map(|w| &w.items), payer);
    let mut rows = Vec::new();
    for workspace in &sheet.workspaces {
        let cells = vec![
            Cell::explained(&workspace.name, &workspace.id),
            Cell::default(),
            Cell::new(words::minor(workspace.payable)),
        ];
        let mood = if workspace.items.is_empty() { Mood::Plain } else { Mood::Group };
        rows.push(Row { mood, cells });
        rows.extend(workspace.items.iter().map(|sum| item_row(sum, payer, places, language)));
    }
    if let Some((count, minor)) = sheet.further {
        let text = match language {
            Language::Zh => format!("其他 {count} 个工作空间（明细请导出账单）"),
            Language::En => format!("{count} further workspaces (export the bills to see each)"),
        };
        let cells = vec![Cell::new(text), Cell::default(), Cell::new(words::minor(minor))];
        rows.push(Row { mood: Mood::Plain, cells });
    }
    rows.push(Row {
        mood: Mood::Sum,
        cells: vec![
            Cell::new(say(language, "合计", "Sum")),
            Cell::default(),
            Cell::new(words::minor(sheet.payable)),
        ],
    });
    Table {
        heading: say(language, "按工作空间明细", "By workspace").to_owned(),
        columns: columns(payer, say(language, "工作空间与计费项", "Workspace and item"), language),
        rows,
    }
}
