//! Documents as they come out: complete, inside the page, the same each time, and readable back from the file.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tandem_proto::ids::{BillId, BillingAccountId, Id, InvoiceId, PrepaidCardId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::language::Language;
use tandem_proto::money::{Currency, LineAmount, Money};
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::{BillingRegion, PriceZone, SettlementMethod};
use uuid::Uuid;

use super::face::faces;
use super::page::{HEIGHT, Mark, Page, SIDE, WIDTH};
use super::*;
use crate::domain::account::{AccountStanding, BillingAccount, Company};
use crate::domain::bill::{BillKind, BillState, Line, LineKind};
use crate::domain::deduction::Instrument;
use crate::domain::invoice::{self as rules, Address, Details, InvoiceKind, InvoiceState, Source};
use crate::domain::price::Price;
use crate::store::bill::{Bill, Payment};
use crate::store::invoice::Invoice;
use crate::store::month_sheet::{ItemSum, WorkspaceMonth};

const LONG_ZH: &str = "上海浦东新区张江高科技园区某某信息技术服务有限公司（北京）第一分公司财务共享服务中心";
const LONG_EN: &str = "The Extraordinarily Long-Named International Observability and Data Processing Holding Company \
                       of Northern Europe, Incorporated";
const LONG_WORD: &str =
    "unbroken_index_name_that_somebody_thought_was_a_good_idea_0123456789abcdef0123456789";

fn id<T: Id>(number: u128) -> T {
    T::from_uuid(Uuid::from_u128(number))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn payer(company: &str, language: Language) -> BillingAccount {
    BillingAccount {
        id: id(1),
        region: BillingRegion::Domestic,
        username: "lin_teahouse".into(),
        email: "lin@teahouse.example".into(),
        phone: None,
        company: Company {
            name: company.into(),
            industry: String::new(),
            region: String::new(),
            description: String::new(),
        },
        currency: Currency::Cny,
        language,
        any_settlement_allowed: false,
        standing: AccountStanding::Good,
        arrears_since: None,
        created_at: at("2026-01-01T00:00:00Z"),
    }
}

fn cny(micros: i64) -> LineAmount {
    LineAmount { micros, currency: Currency::Cny }
}

fn line(item: BillingItem, n: i64, sub_key: &str) -> Line {
    let price = Price { unit_size: item.unit_size(), unit_price: cny(1_200_000) };
    let quantity = Quantity { hundredths: 123_456_700 * n };
    Line {
        kind: if n % 5 == 0 { LineKind::Adjustment } else { LineKind::PayAsYouGo },
        item: Some(item),
        retention_days: if n % 3 == 0 { 14 } else { 0 },
        sub_key: sub_key.into(),
        quantity,
        price,
        amount: LineAmount::of(quantity, price.unit_size, price.unit_price).unwrap(),
        adjusted_day: (n % 5 == 0).then(|| "2026-02-27".parse().unwrap()),
        price_list_version: "2026-01".into(),
        package: None,
    }
}

/// A bill with so many lines, and a rounding line that makes them add up.
fn a_bill(count: i64, name: &str) -> (Bill, Vec<Line>, Vec<Payment>) {
    let items = BillingItem::ALL;
    let mut lines: Vec<Line> = (1..=count)
        .map(|n| {
            let item = items[usize::try_from(n).unwrap() % (items.len() - 1)];
            line(item, n, if n % 4 == 0 { LONG_WORD } else { "" })
        })
        .collect();
    let sum: i64 = lines.iter().map(|l| l.amount.micros).sum();
    let (payable, rounding) = tandem_proto::money::payable(cny(sum));
    let blank = Price { unit_size: 1, unit_price: cny(0) };
    lines.push(Line {
        kind: LineKind::Rounding,
        item: None,
        retention_days: 0,
        sub_key: String::new(),
        quantity: Quantity::ZERO,
        price: blank,
        amount: rounding,
        adjusted_day: None,
        price_list_version: String::new(),
        package: None,
    });
    let account: BillingAccountId = id(1);
    let half = payable.minor / 2;
    let bill = Bill {
        id: id::<BillId>(2),
        billing_account: account.clone(),
        workspace: id::<WorkspaceId>(3),
        workspace_name: name.into(),
        day: "2026-03-01".parse().unwrap(),
        kind: BillKind::Daily,
        currency: Currency::Cny,
        price_zone: PriceZone::Cn,
        price_list_version: "2026-01".into(),
        method: SettlementMethod::BillingCenter,
        cloud_account: None,
        subscription: None,
        payable: payable.minor,
        restricted: 0,
        paid: half,
        state: BillState::InArrears,
        issued_at: at("2026-03-01T16:10:00Z"),
        paid_at: None,
    };
    let payment = |instrument, lot: &str, amount| Payment {
        bill: bill.id.clone(),
        billing_account: account.clone(),
        transfer_id: "t".into(),
        lot: lot.into(),
        instrument,
        amount,
        restricted: 0,
        paid_at: at("2026-03-01T16:10:00Z"),
    };
    let card: PrepaidCardId = id(4);
    let payments = vec![
        payment(Instrument::PrepaidCard, card.as_str(), half / 3),
        payment(Instrument::Cash, "rch_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f", half - half / 3),
    ];
    (bill, lines, payments)
}

fn an_invoice(count: usize, title: &str) -> (Invoice, Vec<rules::Line>) {
    let month = |n: usize| {
        rules::Month::from_number(202_001 + i32::try_from(n / 12 * 100 + n % 12).unwrap()).unwrap()
    };
    let mut lines: Vec<rules::Line> =
        (0..count).map(|n| rules::Line { source: Source::Month(month(n)), amount: 123_456 }).collect();
    lines.push(rules::Line { source: Source::Card(id(4)), amount: 1_000_000 });
    let minor = lines.iter().map(|l| l.amount).sum();
    let invoice = Invoice {
        id: id::<InvoiceId>(5),
        billing_account: id(1),
        state: InvoiceState::Issued,
        amount: Money { minor, currency: Currency::Cny },
        title: title.into(),
        taxpayer_id: "91310000MA1K4B0X2P".into(),
        details: Details {
            kind: InvoiceKind::VatSpecial,
            bank: "中国工商银行股份有限公司上海市张江高科技园区支行".into(),
            bank_account: "1001 2345 6789 0123 456".into(),
            registered_address: "中国（上海）自由贸易试验区某某路 888 号 3 幢 1208 室".into(),
            landline: "021-50800000".into(),
        },
        address: Address {
            recipient: "林喆（财务部）".into(),
            phone: "+86 138 0000 0000".into(),
            email: "finance@teahouse.example".into(),
            postal: LONG_ZH.into(),
        },
        number: Some("24312000000012345678".into()),
        tracking: String::new(),
        reason: String::new(),
        requested_at: at("2026-03-05T02:00:00Z"),
        issued_at: Some(at("2026-03-06T02:00:00Z")),
        sent_at: None,
        rejected_at: None,
    };
    (invoice, lines)
}

fn a_month(count: i64, name: &str) -> MonthSheet {
    let sum = |item, micros| ItemSum { item, quantity: Quantity { hundredths: 987_654_300 }, micros };
    let items = vec![
        sum(Some(BillingItem::LogCount), 4_111_000),
        sum(Some(BillingItem::Pipeline), 2_000_500),
        sum(None, -1_500),
    ];
    let workspace = |n: i64| WorkspaceMonth {
        id: id::<WorkspaceId>(u128::try_from(n).unwrap()).into(),
        name: format!("{name} {n}"),
        items: items.clone(),
        payable: 611,
    };
    let all = |micros| micros * count;
    MonthSheet {
        month: "2026-02".parse().unwrap(),
        generated_at: at("2026-03-03T16:00:00Z"),
        items: items.iter().map(|s| ItemSum { micros: all(s.micros), ..*s }).collect(),
        workspaces: (1..=count).map(workspace).collect(),
        further: None,
        paid_by: vec![(Instrument::GeneralVoucher, 100), (Instrument::Cash, 611 * count - 300)],
        payable: 611 * count,
        with_clouds: 200,
        invoiceable: 611 * count - 300,
    }
}

/// Every document there is, in a language, with names of some length and tables of some length.
fn sheets(language: Language, name: &str, count: i64) -> Vec<Sheet> {
    let payer = payer(name, language);
    let (b, lines, payments) = a_bill(count, name);
    let (i, i_lines) = an_invoice(usize::try_from(count.min(60)).unwrap(), name);
    vec![
        bill(&payer, &b, &lines, &payments, language),
        month(&payer, &a_month(count, name), language),
        invoice(&payer, &i, &i_lines, language),
    ]
}

fn texts(pages: &[Page]) -> Vec<String> {
    let marks = pages.iter().flat_map(|page| &page.marks);
    marks.filter_map(|m| if let Mark::Text { text, .. } = m { Some(text.clone()) } else { None }).collect()
}

/// What a sheet says, without blanks.
fn said(sheet: &Sheet) -> Vec<String> {
    let mut all = vec![sheet.title.clone(), sheet.number.clone(), sheet.addressee_label.clone()];
    all.extend(sheet.addressee.clone());
    all.extend(
        sheet.facts.iter().filter(|f| !f.value.is_empty()).flat_map(|f| [f.label.clone(), f.value.clone()]),
    );
    for table in sheet.tables.iter().chain(&sheet.closing) {
        all.push(table.heading.clone());
        all.extend(table.columns.iter().map(|c| c.head.clone()));
        all.extend(table.rows.iter().flat_map(|r| &r.cells).flat_map(|c| [c.text.clone(), c.detail.clone()]));
    }
    all.extend(sheet.totals.iter().flat_map(|t| [t.label.clone(), t.value.clone()]));
    all.extend(sheet.notes.clone());
    all.iter().map(|text| plain(&text::settable(text))).collect()
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// How often each character stands in texts.
fn counted<'a>(texts: impl IntoIterator<Item = &'a String>) -> std::collections::BTreeMap<char, usize> {
    let mut counts = std::collections::BTreeMap::new();
    texts.into_iter().flat_map(|t| t.chars()).filter(|c| !c.is_whitespace()).for_each(|c| {
        *counts.entry(c).or_default() += 1;
    });
    counts
}

#[test]
fn nothing_is_cut_and_nothing_leaves_the_page() {
    let brand = Brand { name: LONG_EN.into(), address: vec![LONG_ZH.into(); 3], ..Brand::default() };
    for language in [Language::Zh, Language::En] {
        for (name, count) in [("ACME", 1), (LONG_ZH, 3), (LONG_EN, 40), (LONG_WORD, 200), ("😀\u{202e}龘", 2)]
        {
            for sheet in sheets(language, name, count) {
                let pages = layout::pages(&sheet, &brand);
                let shown = counted(&texts(&pages));
                for (c, count) in counted(&said(&sheet)) {
                    let seen = shown.get(&c).copied().unwrap_or(0);
                    assert!(seen >= count, "{}: {c:?} stands {seen} times, not {count}", sheet.title);
                }
                for mark in pages.iter().flat_map(|page| &page.marks) {
                    inside(mark);
                }
                apart(&pages);
            }
        }
    }
}

fn inside(mark: &Mark) {
    match mark {
        Mark::Text { x, y, style, text } => {
            let right = x + faces().unwrap().width(text, *style);
            assert!(*x >= SIDE && right <= WIDTH - SIDE + 1, "{text:?} from {x} to {right}");
            assert!(*y > 0 && *y < HEIGHT - 300, "{text:?} at {y}");
        }
        Mark::Box { x, y, width, height, .. } | Mark::Logo { x, y, width, height } => {
            assert!(
                *x >= 0 && x + width <= WIDTH && *y >= 0 && y + height <= HEIGHT && *width > 0 && *height > 0
            );
        }
    }
}

/// No two lines of text of a page lie on each other.
fn apart(pages: &[Page]) {
    for page in pages {
        let mut places: Vec<(i32, i32, i32, i32, &str)> = Vec::new();
        for mark in &page.marks {
            let Mark::Text { x, y, style, text } = mark else { continue };
            let right = x + faces().unwrap().width(text, *style);
            // What letters cover: most of the size above the baseline, a little below.
            let place = (*x, y - style.size * 7 / 10, right, y + style.size / 8, text.as_str());
            for (left, top, other, bottom, there) in &places {
                let over = place.0 < *other && *left < place.2 && place.1 < *bottom && *top < place.3;
                assert!(!over, "{text:?} lies on {there:?}");
            }
            places.push(place);
        }
    }
}

#[test]
fn a_long_table_repeats_its_head_and_counts_its_pages() {
    let sheet = sheets(Language::En, "ACME", 200).remove(0);
    let pages = layout::pages(&sheet, &Brand::default());
    assert!(pages.len() > 4, "{} pages", pages.len());
    for (at, page) in pages.iter().enumerate() {
        let texts = texts(std::slice::from_ref(page));
        assert!(texts.contains(&format!("Page {} of {}", at + 1, pages.len())), "{texts:?}");
        let rows = texts.iter().any(|t| t.contains("per 1") || t == "each");
        assert!(!rows || texts.iter().any(|t| t == "Unit price (CNY)"), "page {} has no head", at + 1);
    }
}

#[test]
fn the_head_of_a_group_never_stands_alone() {
    let payer = payer("ACME", Language::En);
    for count in 1..60 {
        let sheet = month(&payer, &a_month(count, "w"), Language::En);
        for page in layout::pages(&sheet, &Brand::default()) {
            let texts = texts(std::slice::from_ref(&page));
            // The foot is the last two; before it there is never a workspace's id.
            let last = texts.iter().rev().nth(2).unwrap();
            assert!(!last.starts_with("wks_"), "{count}: {last}");
        }
    }
}

#[test]
fn totals_say_what_the_lines_add_up_to() {
    let (b, lines, payments) = a_bill(200, "ACME");
    let sum: i64 = lines.iter().map(|l| l.amount.micros).sum();
    assert_eq!(sum, b.payable * tandem_proto::money::MICROS_PER_MINOR);
    let sheet = bill(&payer("ACME", Language::En), &b, &lines, &payments, Language::En);
    let minor =
        |text: &str| -> i64 { text.replace([',', '.'], "").trim_end_matches(" CNY").parse().unwrap() };
    let totals: Vec<i64> = sheet.totals.iter().map(|t| minor(&t.value)).collect();
    assert_eq!(totals, [b.payable, b.paid, b.payable - b.paid]);
    // The printed amounts themselves add up, too.
    let amounts = sheet.tables[0].rows.iter().map(|row| row.cells[3].text.as_str());
    let places: BTreeSet<usize> = amounts.clone().map(|t| t.split('.').nth(1).unwrap().len()).collect();
    assert_eq!(places.len(), 1, "amounts line up");
    let scale = 10_i64.pow(6 - u32::try_from(*places.first().unwrap()).unwrap());
    assert_eq!(amounts.map(|t| minor(t) * scale).sum::<i64>(), sum);
    let paid: i64 = sheet.tables[1].rows.iter().map(|row| minor(&row.cells[2].text)).sum();
    assert_eq!(paid, b.paid);

    let sheet = month(&payer("ACME", Language::Zh), &a_month(7, "w"), Language::Zh);
    for table in &sheet.tables {
        let total = table.rows.last().unwrap();
        assert_eq!((total.mood, minor(&total.cells[2].text)), (Mood::Sum, 611 * 7));
    }
    let by_workspace = sheet.tables[1].rows.iter().filter(|row| row.mood == Mood::Group);
    assert_eq!(by_workspace.map(|row| minor(&row.cells[2].text)).sum::<i64>(), 611 * 7);
}

#[test]
fn our_own_headings_are_truly_bold() {
    for language in [Language::Zh, Language::En] {
        for sheet in sheets(language, "ACME", 3) {
            for mark in layout::pages(&sheet, &Brand::default()).iter().flat_map(|page| &page.marks) {
                let Mark::Text { style, text, .. } = mark else { continue };
                let (_, thickened) = faces().unwrap().of(text, style.bold);
                assert!(!thickened, "the bold face lacks a character of {text:?}; run data/fonts/make.py");
            }
        }
    }
}

#[test]
fn the_same_document_has_the_same_bytes_and_its_text_reads_back() {
    let brand = Brand { name: "某某云".into(), ..Brand::default() };
    for (language, name) in [(Language::Zh, LONG_ZH), (Language::En, LONG_EN), (Language::En, "😀龘\u{e000}")]
    {
        for sheet in sheets(language, name, 30) {
            let pdf = render(&sheet, &brand).unwrap();
            assert_eq!(pdf, render(&sheet, &brand).unwrap(), "the same input, other bytes");
            assert!(pdf.starts_with(b"%PDF-1.7"), "{:?}", &pdf[..8]);
            let file = lopdf::Document::load_mem(&pdf).unwrap();
            let pages = layout::pages(&sheet, &brand);
            assert_eq!(file.get_pages().len(), pages.len());
            for (number, page) in (1..).zip(&pages) {
                let read = plain(&file.extract_text(&[number]).unwrap());
                // What the font lacks is read back by readers that know replacement texts, which this one does not.
                let lacking = |text: &String| text.contains(['😀', '龘', '\u{fffd}']);
                for text in texts(std::slice::from_ref(page)).into_iter().filter(|text| !lacking(text)) {
                    assert!(read.contains(&plain(&text)), "page {number}: {text:?} is not in {read}");
                }
            }
        }
    }
}

#[test]
fn a_logo_is_part_of_the_file_and_keeps_its_form() {
    // Four red pixels by two.
    let png = concat!(
        "89504e470d0a1a0a0000000d4948445200000004000000020802000000f0caea34000000104944415478da63b8a06000",
        "470cc81c007a1a0901f19779200000000049454e44ae426082",
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logo.png");
    std::fs::write(&path, hex::decode(png).unwrap()).unwrap();
    let section = BrandSection { logo: Some(path), ..BrandSection::default() };
    let brand = Brand::new(&section, &tandem_service_kit::config::MailSection::default()).unwrap();
    let sheet = sheets(Language::En, "ACME", 3).remove(0);
    let pages = layout::pages(&sheet, &brand);
    let logo = pages[0].marks.iter().find_map(|mark| match mark {
        Mark::Logo { width, height, .. } => Some((*width, *height)),
        Mark::Text { .. } | Mark::Box { .. } => None,
    });
    let (width, height) = logo.unwrap();
    assert_eq!(width, height * 2);
    apart(&pages);
    let has = |pdf: &[u8]| pdf.windows(14).any(|w| w == b"/Subtype/Image" || w == b"/Subtype /Imag");
    let plain = render(&sheet, &Brand::default()).unwrap();
    let pdf = render(&sheet, &brand).unwrap();
    assert!(has(&pdf) && !has(&plain));
}
