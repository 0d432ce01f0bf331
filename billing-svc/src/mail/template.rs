//! Letters filled into their templates.

use tandem_proto::language::Language;

use super::{
    CashChange, ExpiringCredit, IssuedBill, LISTED_MAX, Letter, Letterhead, MonthInMail, PackageFacts,
    instrument_title, method_title,
};
use crate::domain::contact::ContactKind;
use crate::domain::wallet::LotKind;

/// Longest value that goes into a mail; far above every name that is accepted.
const VALUE_CHARS_MAX: usize = 512;

macro_rules! template {
    ($name:literal, $language:expr) => {
        match $language {
            Language::Zh => include_str!(concat!("templates/", $name, ".zh.txt")),
            Language::En => include_str!(concat!("templates/", $name, ".en.txt")),
        }
    };
}

/// The subject and text of a letter.
pub(super) fn render(letterhead: &Letterhead, letter: &Letter, language: Language) -> (String, String) {
    let (template, mut values) = parts(letter, language);
    values.push(("brand", line(&letterhead.brand)));
    let (subject, body) = template.split_once('\n').unwrap_or((template, ""));
    let footer = fill(template!("footer", language), &footer_values(letterhead, language));
    // A deadline that is not there leaves an empty line at the end.
    let body = format!("{}\n{footer}", fill(body, &values).trim_end());
    (fill(subject, &values), body)
}

fn footer_values(letterhead: &Letterhead, language: Language) -> Vec<(&'static str, String)> {
    let labelled = |zh: &str, en: &str, value: &str| match (value.is_empty(), language) {
        (true, _) => String::new(),
        (false, Language::Zh) => format!("{zh}{}\n", line(value)),
        (false, Language::En) => format!("{en}{}\n", line(value)),
    };
    vec![
        ("brand", line(&letterhead.brand)),
        ("portal", labelled("计费中心：", "Billing Center: ", &letterhead.portal)),
        ("support", labelled("帮助：", "Help: ", &letterhead.support)),
    ]
}

/// The template of a letter and the values of its placeholders.
fn parts(letter: &Letter, language: Language) -> (&'static str, Vec<(&'static str, String)>) {
    match letter {
        Letter::VerificationCode { username, code, minutes } => (
            template!("verification_code", language),
            vec![("username", line(username)), ("code", line(code)), ("minutes", minutes.to_string())],
        ),
        Letter::Welcome { username, company } => {
            (template!("welcome", language), vec![("username", line(username)), ("company", line(company))])
        }
        Letter::BillsIssued { bills } => (
            template!("bills_issued", language),
            vec![("bills", list(bills.iter().map(|bill| bill_line(bill, language)).collect(), language))],
        ),
        Letter::ArrearsStarted { amount, lock_day, link } => (
            template!("arrears_started", language),
            vec![
                ("amount", line(amount)),
                ("lock_day", line(lock_day)),
                ("link", link_lines(link, language)),
            ],
        ),
        Letter::CreditExpiring { credits } => (
            template!("credit_expiring", language),
            vec![("credits", list(credits.iter().map(|c| credit_line(c, language)).collect(), language))],
        ),
        Letter::WorkspaceLockSoon { workspaces, days, deadline, link } => (
            template!("workspace_lock_soon", language),
            vec![
                ("workspaces", list(names(workspaces), language)),
                ("days", in_days(*days, language)),
                ("deadline", line(deadline)),
                ("link", link_lines(link, language)),
            ],
        ),
        Letter::WorkspaceLocked { workspaces } => {
            (template!("workspace_locked", language), vec![("workspaces", list(names(workspaces), language))])
        }
        Letter::WorkspaceUnlocked { workspaces } => (
            template!("workspace_unlocked", language),
            vec![("workspaces", list(names(workspaces), language))],
        ),
        Letter::WorkspaceUnlockedForNow { workspaces, amount, until, lock_day } => (
            template!("workspace_unlocked_for_now", language),
            vec![
                ("workspaces", list(names(workspaces), language)),
                ("amount", line(amount)),
                ("until", line(until)),
                ("lock_day", line(lock_day)),
            ],
        ),
        Letter::CashChanged { change, amount } => {
            (template!("cash_changed", language), vec![("change", cash_change(change, amount, language))])
        }
        Letter::DebtSettled { workspaces } => {
            (template!("debt_settled", language), vec![("workspaces", list(names(workspaces), language))])
        }
        Letter::WorkspaceDissolved { workspaces } => (
            template!("workspace_dissolved", language),
            vec![("workspaces", list(names(workspaces), language))],
        ),
        Letter::SubscriptionEnded { vendor, cloud_account, workspaces, method, deadline } => (
            template!("subscription_ended", language),
            vec![
                ("cloud", vendor.title(language).to_owned()),
                ("cloud_account", line(cloud_account)),
                ("workspaces", list(names(workspaces), language)),
                ("method", method_title(*method, language).to_owned()),
                ("deadline", deadline_line(deadline.as_deref(), language)),
            ],
        ),
        Letter::SubscriptionSuspended { vendor, cloud_account, workspaces, deadline } => (
            template!("subscription_suspended", language),
            vec![
                ("cloud", vendor.title(language).to_owned()),
                ("cloud_account", line(cloud_account)),
                ("workspaces", list(names(workspaces), language)),
                ("deadline", deadline_line(deadline.as_deref(), language)),
            ],
        ),
        Letter::SpendAlert { workspace, item, period, threshold, spent } => (
            template!("spend_alert", language),
            vec![
                ("workspace", line(workspace)),
                ("what", watched(item, language)),
                ("period", line(period)),
                ("threshold", line(threshold)),
                ("spent", line(spent)),
            ],
        ),
        Letter::PackagesOrdered { packages, charged } => {
            let lines = packages.iter().map(|package| package_line(package, language)).collect();
            (
                template!("packages_ordered", language),
                vec![("packages", list(lines, language)), ("charged", line(charged))],
            )
        }
        Letter::PackageEndsSoon { offer, last_day, days } => (
            template!("package_ends_soon", language),
            vec![("offer", line(offer)), ("last_day", line(last_day)), ("days", days.to_string())],
        ),
        Letter::CompanyVerified { company } => {
            (template!("company_verified", language), vec![("company", line(company))])
        }
        Letter::CompanyRejected { company, reason } => (
            template!("company_rejected", language),
            vec![("company", line(company)), ("reason", line(reason))],
        ),
        Letter::InvoiceIssued { title, amount, number } => (
            template!("invoice_issued", language),
            vec![("title", line(title)), ("amount", line(amount)), ("number", line(number))],
        ),
        Letter::InvoiceSent { title, amount, number, tracking } => (
            template!("invoice_sent", language),
            vec![
                ("title", line(title)),
                ("amount", line(amount)),
                ("number", line(number)),
                ("tracking", tracking_line(tracking, language)),
            ],
        ),
        Letter::InvoiceRejected { title, amount, reason } => (
            template!("invoice_rejected", language),
            vec![("title", line(title)), ("amount", line(amount)), ("reason", line(reason))],
        ),
        Letter::SettlementChanged { workspace, old_method, method } => (
            template!("settlement_changed", language),
            vec![
                ("workspace", line(workspace)),
                ("old_method", method_title(*old_method, language).to_owned()),
                ("method", method_title(*method, language).to_owned()),
            ],
        ),
        Letter::ChangeExpired { workspace, method } => (
            template!("change_expired", language),
            vec![("workspace", line(workspace)), ("method", method_title(*method, language).to_owned())],
        ),
        Letter::MoveCode { workspace, from, to, code, minutes } => (
            template!("move_code", language),
            vec![
                ("workspace", line(workspace)),
                ("from", line(from)),
                ("to", line(to)),
                ("code", line(code)),
                ("minutes", minutes.to_string()),
            ],
        ),
        Letter::WorkspaceMoved { workspace, from, to, first_day } => (
            template!("workspace_moved", language),
            vec![
                ("workspace", line(workspace)),
                ("from", line(from)),
                ("to", line(to)),
                ("first_day", line(first_day)),
            ],
        ),
        Letter::ContactChanged { username, kind } => (
            template!("contact_changed", language),
            vec![("username", line(username)), ("contact", contact_title(*kind, language).to_owned())],
        ),
        Letter::PasswordChanged { username } => {
            (template!("password_changed", language), vec![("username", line(username))])
        }
        Letter::MonthlyBill(bill) => (template!("monthly_bill", language), monthly_bill(bill, language)),
    }
}

fn watched(item: &str, language: Language) -> String {
    match (item, language) {
        ("", Language::Zh) => "本月累计消费".to_owned(),
        ("", Language::En) => "spending of the month to date".to_owned(),
        (item, Language::Zh) => format!("{} 当日消费", line(item)),
        (item, Language::En) => format!("spending on {} of the day", line(item)),
    }
}

fn cash_change(change: &CashChange, amount: &str, language: Language) -> String {
    let amount = line(amount);
    match (change, language) {
        (CashChange::Credit, Language::Zh) => format!("您的现金余额增加了 {amount}；如有欠费，已先行抵扣。"),
        (CashChange::Credit, Language::En) => {
            format!("{amount} was added to your cash; it repaid what you owed, if anything, first.")
        }
        (CashChange::Debit, Language::Zh) => format!("作为更正，您的现金余额减少了 {amount}。"),
        (CashChange::Debit, Language::En) => format!("{amount} was taken from your cash as a correction."),
        (CashChange::Refund { reference }, Language::Zh) => {
            format!("您的现金余额中 {amount} 已退还给您，付款凭证号：{}。", line(reference))
        }
        (CashChange::Refund { reference }, Language::En) => {
            format!("{amount} of your cash was returned to you by payment {}.", line(reference))
        }
    }
}

fn tracking_line(tracking: &str, language: Language) -> String {
    match (tracking.is_empty(), language) {
        (true, _) => String::new(),
        (false, Language::Zh) => format!("\n物流信息：{}", line(tracking)),
        (false, Language::En) => format!("\nConsignment: {}", line(tracking)),
    }
}

fn contact_title(kind: ContactKind, language: Language) -> &'static str {
    match (kind, language) {
        (ContactKind::Email, Language::Zh) => "邮箱",
        (ContactKind::Phone, Language::Zh) => "手机号",
        (ContactKind::Email, Language::En) => "mail address",
        (ContactKind::Phone, Language::En) => "phone number",
    }
}

/// A code as a text message says it.
pub(super) fn code_text(letterhead: &Letterhead, code: &str, minutes: i64, language: Language) -> String {
    let values = [("brand", line(&letterhead.brand)), ("code", line(code)), ("minutes", minutes.to_string())];
    fill(template!("code_text", language).trim_end(), &values)
}

/// How far away a deadline is, as a part of a sentence.
fn in_days(days: i64, language: Language) -> String {
    match (days, language) {
        (_, Language::Zh) => format!("{days} 天内"),
        (1, Language::En) => "within a day".to_owned(),
        (_, Language::En) => format!("in {days} days"),
    }
}

/// The link that shows what is owed, on lines of its own; nothing without one.
fn link_lines(link: &str, language: Language) -> String {
    match (link.is_empty(), language) {
        (true, _) => String::new(),
        (false, Language::Zh) => {
            format!("\n查看欠费与解锁方式（无需登录，链接 24 小时内有效）：\n{}\n", line(link))
        }
        (false, Language::En) => format!(
            "\nWhat is owed, and what ends it, without signing in (the link works for 24 hours):\n{}\n",
            line(link)
        ),
    }
}

fn monthly_bill(bill: &MonthInMail, language: Language) -> Vec<(&'static str, String)> {
    let entry = |name: &str, amount: &str| match language {
        Language::Zh => format!("{name}：{}", line(amount)),
        Language::En => format!("{name}: {}", line(amount)),
    };
    let (nothing, rounding) = match language {
        Language::Zh => ("无", "四舍五入"),
        Language::En => ("nothing", "rounding"),
    };
    let mut paid: Vec<String> =
        bill.paid.iter().map(|(by, amount)| entry(instrument_title(*by, language), amount)).collect();
    if paid.is_empty() {
        paid.push(nothing.to_owned());
    }
    let items = bill.items.iter().map(|(item, amount)| entry(item.unwrap_or(rounding), amount)).collect();
    vec![
        ("month", line(&bill.month)),
        ("payable", line(&bill.payable)),
        ("paid", list(paid, language)),
        ("in_cloud", line(&bill.in_cloud)),
        ("arrears", line(&bill.arrears)),
        ("workspaces", bill.workspaces.to_string()),
        ("items", list(items, language)),
    ]
}

fn deadline_line(deadline: Option<&str>, language: Language) -> String {
    match (deadline, language) {
        (None, _) => String::new(),
        (Some(at), Language::Zh) => {
            format!(
                "\n如未在 {} 之前恢复云订阅或确认新的结算方式并结清欠费，上述工作空间将被锁定，数据将被清除。",
                line(at)
            )
        }
        (Some(at), Language::En) => format!(
            "\nUnless you restore a cloud subscription, or confirm another settlement method and settle what is open, \
             before {}, they will be locked and their data deleted.",
            line(at)
        ),
    }
}

fn bill_line(bill: &IssuedBill, language: Language) -> String {
    let IssuedBill { day, workspace, payable, paid, arrears } = bill;
    let (day, workspace) = (line(day), line(workspace));
    match language {
        Language::Zh => format!("{day} {workspace}：应付 {payable}，已付 {paid}，欠费 {arrears}"),
        Language::En => format!("{day} {workspace}: payable {payable}, paid {paid}, owed {arrears}"),
    }
}

fn package_line(package: &PackageFacts, language: Language) -> String {
    let PackageFacts { offer, multiple, first_day, last_day, price } = package;
    let (offer, first_day, last_day) = (line(offer), line(first_day), line(last_day));
    match language {
        Language::Zh => format!("{offer} × {multiple}：{first_day} 至 {last_day}，{price}"),
        Language::En => format!("{offer} × {multiple}: {first_day} to {last_day}, {price}"),
    }
}

fn credit_line(credit: &ExpiringCredit, language: Language) -> String {
    let kind = match (credit.kind, language) {
        (LotKind::PrepaidCard, Language::Zh) => "储值卡",
        (LotKind::PrepaidCard, Language::En) => "prepaid card",
        (LotKind::DiscountVoucher, Language::Zh) => "抵扣券",
        (LotKind::DiscountVoucher, Language::En) => "discount voucher",
        (LotKind::GeneralVoucher, Language::Zh) => "代金券",
        (LotKind::GeneralVoucher, Language::En) => "voucher",
        (LotKind::Cash, Language::Zh) => "现金",
        (LotKind::Cash, Language::En) => "cash",
    };
    let [id, left, last_day] = [&credit.id, &credit.left, &credit.last_day].map(|value| line(value));
    match language {
        Language::Zh => format!("{kind} {id}：剩余 {left}，最后有效日 {last_day}"),
        Language::En => format!("{kind} {id}: {left} left, last day {last_day}"),
    }
}

fn names(names: &[String]) -> Vec<String> {
    names.iter().map(|name| line(name)).collect()
}

/// Entries, one a line; those beyond the first [`LISTED_MAX`] are only counted.
fn list(mut entries: Vec<String>, language: Language) -> String {
    let more = entries.len().saturating_sub(LISTED_MAX);
    entries.truncate(LISTED_MAX);
    if more > 0 {
        entries.push(match language {
            Language::Zh => format!("…… 以及另外 {more} 个"),
            Language::En => format!("… and {more} more"),
        });
    }
    entries.iter().map(|entry| format!("    {entry}")).collect::<Vec<_>>().join("\n")
}

/// A value without control characters: one that held a line break could add lines or headers to a mail.
fn line(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(VALUE_CHARS_MAX).collect()
}

/// Fills placeholders in one pass, so that a value that looks like a placeholder stays what it is.
fn fill(template: &str, values: &[(&'static str, String)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        match after
            .split_once('}')
            .and_then(|(name, tail)| Some((values.iter().find(|(n, _)| *n == name)?, tail)))
        {
            Some(((_, value), tail)) => {
                filled.push_str(value);
                rest = tail;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}
