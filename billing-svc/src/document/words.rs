//! The fixed words of documents in both languages, and numbers as people write them.

use jiff::Timestamp;
use tandem_proto::item::BillingItem;
use tandem_proto::language::Language;
use tandem_proto::money::{LineAmount, Money};
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::SettlementMethod;

use crate::domain::bill::{BillKind, BillState};
use crate::domain::deduction::Instrument;
use crate::domain::invoice::{InvoiceKind, InvoiceState};

/// Chooses a word by language.
pub(super) fn say(language: Language, zh: &'static str, en: &'static str) -> &'static str {
    match language {
        Language::Zh => zh,
        Language::En => en,
    }
}

/// "Page n of m".
pub(super) fn of_pages(language: Language) -> &'static str {
    say(language, "第 {n} 页，共 {m} 页", "Page {n} of {m}")
}

/// An item's name.
pub(super) fn item(item: BillingItem, language: Language) -> &'static str {
    let (zh, en) = match item {
        BillingItem::TimeSeries => ("时间线", "Time series"),
        BillingItem::LogCount => ("日志", "Logs"),
        BillingItem::LogIngest => ("日志（按流量）", "Logs by volume"),
        BillingItem::DataForwardExternal => ("数据转发（外部存储）", "Data forwarding (external storage)"),
        BillingItem::DataForwardInternal => ("数据转发（内部存储）", "Data forwarding (internal storage)"),
        BillingItem::NetworkHost => ("网络主机", "Network hosts"),
        BillingItem::ApmTrace => ("应用性能链路", "Traces"),
        BillingItem::ApmProfile => ("应用性能剖析", "Profiles"),
        BillingItem::RumPv => ("用户访问浏览量", "Page views"),
        BillingItem::SessionReplay => ("会话重放", "Session replays"),
        BillingItem::SyntheticTest => ("可用性拨测", "Synthetic tests"),
        BillingItem::Trigger => ("任务调用", "Triggers"),
        BillingItem::Sms => ("短信", "Text messages"),
        BillingItem::Report => ("定时报告", "Reports"),
        BillingItem::SensitiveScan => ("敏感数据扫描", "Sensitive data scans"),
        BillingItem::Pipeline => ("中心数据处理", "Central pipeline"),
        BillingItem::Collector => ("采集器", "Collectors"),
    };
    say(language, zh, en)
}

/// How a bill is settled.
pub(super) fn method(method: SettlementMethod, language: Language) -> &'static str {
    match method {
        SettlementMethod::BillingCenter => say(language, "计费中心", "Billing Center"),
        SettlementMethod::Cloud(vendor) => vendor.title(language),
    }
}

/// Where a bill stands.
pub(super) fn bill_state(state: BillState, language: Language) -> &'static str {
    let (zh, en) = match state {
        BillState::Issued => ("已出账", "Issued"),
        BillState::Submitted => ("已提交云市场", "Submitted to the cloud"),
        BillState::Paid => ("已结清", "Paid"),
        BillState::InArrears => ("欠费", "In arrears"),
        BillState::Overdue => ("逾期", "Overdue"),
        BillState::Rejected => ("云市场未受理", "Refused by the cloud"),
    };
    say(language, zh, en)
}

/// What a bill covers.
pub(super) fn bill_title(kind: BillKind, language: Language) -> &'static str {
    match kind {
        BillKind::Daily => say(language, "日账单", "Daily bill"),
        BillKind::Final => say(language, "终结账单", "Final bill"),
    }
}

/// What paid.
pub(super) fn instrument(instrument: Instrument, language: Language) -> &'static str {
    let (zh, en) = match instrument {
        Instrument::GeneralVoucher => ("普通代金券", "Voucher"),
        Instrument::DiscountVoucher => ("满赠代金券", "Discount voucher"),
        Instrument::PrepaidCard => ("储值卡", "Prepaid card"),
        Instrument::Cash => ("现金余额", "Cash balance"),
        Instrument::Cloud => ("云账号", "Cloud account"),
    };
    say(language, zh, en)
}

/// A kind of invoice.
pub(super) fn invoice_kind(kind: InvoiceKind, language: Language) -> &'static str {
    let (zh, en) = match kind {
        InvoiceKind::VatOrdinary => ("增值税普通发票", "VAT ordinary invoice"),
        InvoiceKind::VatSpecial => ("增值税专用发票", "VAT special invoice"),
        InvoiceKind::ElectronicOrdinary => ("电子普通发票", "Electronic ordinary invoice"),
    };
    say(language, zh, en)
}

/// Where an invoice stands.
pub(super) fn invoice_state(state: InvoiceState, language: Language) -> &'static str {
    let (zh, en) = match state {
        InvoiceState::Requested => ("已申请", "Requested"),
        InvoiceState::Issued => ("已开具", "Issued"),
        InvoiceState::Sent => ("已寄出", "Sent"),
        InvoiceState::Rejected => ("已驳回", "Rejected"),
    };
    say(language, zh, en)
}

/// An instant as a reader of a place understands it.
pub(super) fn moment(at: Timestamp, zone: &str) -> String {
    crate::mail::moment(at, zone)
}

/// Whole money with its currency: `1,234.50 CNY`.
pub(super) fn money(money: Money) -> String {
    format!("{} {}", minor(money.minor), money.currency)
}

/// Minor units as a decimal: `1,234.50`.
pub(super) fn minor(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let units = minor.unsigned_abs();
    format!("{sign}{}.{:02}", grouped(units / 100), units % 100)
}

/// A line's amount with so many decimals.
pub(super) fn amount(amount: LineAmount, places: usize) -> String {
    let sign = if amount.micros < 0 { "-" } else { "" };
    let micros = amount.micros.unsigned_abs();
    let digits = format!("{:06}", micros % 1_000_000);
    format!("{sign}{}.{}", grouped(micros / 1_000_000), digits.get(..places.min(6)).unwrap_or(&digits))
}

/// How many decimals amounts need to be exact, at least two.
pub(super) fn places(amounts: impl IntoIterator<Item = LineAmount>) -> usize {
    let needed = |a: LineAmount| {
        format!("{:06}", a.micros.unsigned_abs() % 1_000_000).trim_end_matches('0').len().max(2)
    };
    amounts.into_iter().map(needed).max().unwrap_or(2)
}

/// A quantity of an item: bytes as GB, anything else as it is counted.
pub(super) fn quantity(quantity: Quantity, item: BillingItem) -> String {
    let places: u32 = if in_bytes(item) { 11 } else { 2 };
    let one = 10_u64.pow(places);
    let sign = if quantity.hundredths < 0 { "-" } else { "" };
    let value = quantity.hundredths.unsigned_abs();
    let width = usize::try_from(places).unwrap_or(0);
    let digits = format!("{:0width$}", value % one);
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let unit = if in_bytes(item) { " GB" } else { "" };
    format!("{sign}{}{point}{digits}{unit}", grouped(value / one))
}

/// How much one unit price buys: `per 1,000,000`, `per GB`.
pub(super) fn per(item: BillingItem, unit_size: i64, language: Language) -> String {
    let what = match unit_size {
        1 => return say(language, "每个", "each").to_owned(),
        1_000_000_000 if in_bytes(item) => "GB".to_owned(),
        size => grouped(size.unsigned_abs()),
    };
    match language {
        Language::Zh => format!("每 {what}"),
        Language::En => format!("per {what}"),
    }
}

fn in_bytes(item: BillingItem) -> bool {
    item.unit_size() == 1_000_000_000
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount in yuan and fen in the characters that cannot be altered, as it stands on Chinese invoices.
pub(super) fn capital_yuan(minor: i64) -> String {
    const DIGITS: [&str; 10] = ["零", "壹", "贰", "叁", "肆", "伍", "陆", "柒", "捌", "玖"];
    const PLACES: [&str; 4] = ["仟", "佰", "拾", ""];
    const GROUPS: [&str; 5] = ["", "万", "亿", "万亿", "亿亿"];
    let digit = |d: u64| usize::try_from(d).ok().and_then(|d| DIGITS.get(d)).copied().unwrap_or_default();
    let units = minor.unsigned_abs();
    let (yuan, jiao, fen) = (units / 100, units / 10 % 10, units % 10);
    let mut text = String::from(if minor < 0 { "负" } else { "" });
    let (mut zero, mut before) = (false, 0);
    for (at, name) in GROUPS.iter().enumerate().rev() {
        let group = yuan / 10_000_u64.pow(u32::try_from(at).unwrap_or(0)) % 10_000;
        // The zeros at the end of one group and none at the beginning of the next need no word.
        zero &= before == 0 || group < 1_000;
        before = group;
        let digits = [group / 1_000, group / 100 % 10, group / 10 % 10, group % 10];
        for (d, place) in digits.into_iter().zip(PLACES) {
            if d == 0 {
                zero = true;
                continue;
            }
            // Zeros in front say nothing.
            if zero && !text.trim_start_matches('负').is_empty() {
                text.push('零');
            }
            zero = false;
            text.push_str(digit(d));
            text.push_str(place);
        }
        if group > 0 {
            text.push_str(name);
        }
    }
    if yuan > 0 {
        text.push('元');
    } else if units == 0 {
        text.push_str("零元");
    }
    match (jiao, fen) {
        (0, 0) => text.push('整'),
        (0, fen) => {
            if yuan > 0 {
                text.push('零');
            }
            text.push_str(digit(fen));
            text.push('分');
        }
        (jiao, fen) => {
            text.push_str(digit(jiao));
            text.push('角');
            if fen == 0 {
                text.push('整');
            } else {
                text.push_str(digit(fen));
                text.push('分');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tandem_proto::money::Currency;

    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(minor(-123_456_789), "-1,234,567.89");
        assert_eq!(minor(i64::MIN), "-92,233,720,368,547,758.08");
        let micros = |micros| LineAmount { micros, currency: Currency::Cny };
        assert_eq!(places([micros(1_200_000), micros(14_500)]), 4);
        assert_eq!(amount(micros(1_234_014_500), 4), "1,234.0145");
        assert_eq!(amount(micros(-5), 6), "-0.000005");
        let of = |hundredths, item| quantity(Quantity { hundredths }, item);
        assert_eq!(of(200_000_000, BillingItem::LogCount), "2,000,000");
        assert_eq!(of(150, BillingItem::ApmTrace), "1.5");
        assert_eq!(of(123_456_789_100, BillingItem::Pipeline), "1.234567891 GB");
        assert_eq!(per(BillingItem::Pipeline, 1_000_000_000, Language::En), "per GB");
        assert_eq!(per(BillingItem::Report, 1, Language::En), "each");
        assert_eq!(per(BillingItem::LogCount, 1_000_000, Language::Zh), "每 1,000,000");
    }

    #[test]
    fn capitals_are_those_of_the_invoice_rules() {
        for (minor, text) in [
            (0, "零元整"),
            (1, "壹分"),
            (10, "壹角整"),
            (105, "壹元零伍分"),
            (150, "壹元伍角整"),
            (168_032, "壹仟陆佰捌拾元叁角贰分"),
            (10_700_053, "壹拾万柒仟元伍角叁分"),
            (640_900, "陆仟肆佰零玖元整"),
            (1_000_100, "壹万零壹元整"),
            (10_000_000_000, "壹亿元整"),
            (10_000_010_000, "壹亿零壹佰元整"),
            (-150, "负壹元伍角整"),
        ] {
            assert_eq!(capital_yuan(minor), text, "{minor}");
        }
        assert!(capital_yuan(i64::MAX).ends_with("柒分"));
    }
}
