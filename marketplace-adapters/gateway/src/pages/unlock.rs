//! The page behind an unlock link: what is owed, which workspaces hang on it, what ends it.

use std::fmt::Write as _;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tandem_proto::billing::v1::{HeldWorkspace, OpenUnlockLinkResponse, Remedy};
use tandem_proto::common::v1::WorkspaceStanding;
use tandem_proto::day::zone;
use tandem_proto::language::Language;
use tandem_proto::money::Money;
use tandem_service_kit::validate;

use super::{Pages, escape, language};

/// What whoever opens an unlock link sees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UnlockPage {
    /// The link is genuine and still good.
    Opened(Box<OpenUnlockLinkResponse>),
    /// It is not, whatever the reason: nobody is told which.
    Invalid,
    /// Nothing can be said now.
    TryLater,
}

impl UnlockPage {
    /// One word for logs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            UnlockPage::Opened(_) => "opened",
            UnlockPage::Invalid => "invalid",
            UnlockPage::TryLater => "try_later",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            UnlockPage::Opened(_) => StatusCode::OK,
            UnlockPage::Invalid => StatusCode::FORBIDDEN,
            UnlockPage::TryLater => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Pages {
    /// Shows the page of an unlock link in the language the browser asks for, or else the account's.
    pub(crate) fn show_unlock(&self, page: &UnlockPage, asked: &HeaderMap) -> Response {
        let account = match page {
            UnlockPage::Opened(opened) => Language::from_message(opened.language),
            UnlockPage::Invalid | UnlockPage::TryLater => None,
        };
        let language = language::preferred(asked).or(account).unwrap_or(Language::En);
        let mut response = (page.status(), self.unlock_html(page, language)).into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        if page.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }

    fn unlock_html(&self, page: &UnlockPage, language: Language) -> String {
        let pick = |zh: &'static str, en: &'static str| match language {
            Language::Zh => zh,
            Language::En => en,
        };
        let (title, body) = match page {
            UnlockPage::Invalid => (
                pick("链接无效或已过期", "The link is not valid, or not any more").to_owned(),
                paragraph(pick(
                    "请登录后在锁定页面重新获取链接。链接仅在短时间内有效。",
                    "Sign in and ask for a new one on the lock page. A link works for a short time only.",
                )),
            ),
            UnlockPage::TryLater => (
                pick("暂时无法打开", "This cannot be opened right now").to_owned(),
                paragraph(pick("请过几分钟再试。", "Please try again in a few minutes.")),
            ),
            UnlockPage::Opened(opened) => opened_html(opened, language),
        };
        self.shell(&escape(&title), &body, language)
    }
}

/// A remedy's words.
fn remedy(remedy: Remedy, language: Language) -> &'static str {
    match (remedy, language) {
        (Remedy::Recharge, Language::Zh) => {
            "充值：登录计费中心在线充值，或按页面所示账户进行银行转账。结清后锁定倒计时自动结束。"
        }
        (Remedy::Recharge, Language::En) => {
            "Recharge: pay online in the Billing Center, or by bank transfer to the account shown there. The countdown ends by itself once nothing is owed."
        }
        (Remedy::BindCloud, Language::Zh) => {
            "绑定云账号：在计费中心的工作空间管理中，将结算方式更改为云账号结算。"
        }
        (Remedy::BindCloud, Language::En) => {
            "Bind a cloud account: change the settlement method to a cloud in the Billing Center, under workspace management."
        }
        (Remedy::ChooseBillingCenter, Language::Zh) => {
            "选择计费中心结算：在计费中心的工作空间管理中确认由计费中心结算。"
        }
        (Remedy::ChooseBillingCenter, Language::En) => {
            "Choose the Billing Center: confirm that it settles the workspace, in the Billing Center under workspace management."
        }
        (Remedy::RestoreSubscription, Language::Zh) => "恢复云订阅：请在云市场续费或结清欠款。",
        (Remedy::RestoreSubscription, Language::En) => {
            "Restore the cloud subscription: renew it or settle what is overdue in the cloud's marketplace."
        }
        (Remedy::Operator, Language::Zh) => "结清后请联系工作人员重新开通；原有数据已被清除。",
        (Remedy::Operator, Language::En) => {
            "When nothing is owed any more, write to our staff to have it opened again; its data is gone."
        }
        (Remedy::Unspecified, _) => "",
    }
}

fn opened_html(opened: &OpenUnlockLinkResponse, language: Language) -> (String, String) {
    let debt = opened.debt.clone().unwrap_or_default();
    let owed = debt.owed.as_ref().and_then(Money::from_message);
    let owed = owed.filter(|owed| owed.minor > 0).map(|owed| owed.to_string());
    let by = debt.settle_by_time.and_then(|at| moment(Some(at), "UTC"));
    let title = match (&owed, language) {
        (Some(owed), Language::Zh) => format!("欠费 {owed}"),
        (Some(owed), Language::En) => format!("{owed} is owed"),
        (None, Language::Zh) => "当前无欠费".to_owned(),
        (None, Language::En) => "Nothing is owed".to_owned(),
    };
    let mut body = String::new();
    let account = match language {
        Language::Zh => format!("计费中心账号：{}", debt.username),
        Language::En => format!("Billing Center account: {}", debt.username),
    };
    body.push_str(&paragraph(&account));
    if owed.is_some() {
        let by = by.unwrap_or_default();
        body.push_str(&paragraph(&match language {
            Language::Zh => format!("未结清账单 {} 张，结清期限：{by}", debt.owed_bill_count),
            Language::En => {
                format!("Bills that are not paid: {}. To be settled before {by}.", debt.owed_bill_count)
            }
        }));
    }
    debt.workspaces.iter().for_each(|held| body.push_str(&workspace_html(held, language)));
    let more = i64::from(debt.workspace_count) - i64::try_from(debt.workspaces.len()).unwrap_or(i64::MAX);
    if more > 0 {
        body.push_str(&paragraph(&match language {
            Language::Zh => format!("…… 以及另外 {more} 个工作空间"),
            Language::En => format!("… and {more} more workspaces"),
        }));
    }
    let url = &opened.billing_center_url;
    if ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
        let label = match language {
            Language::Zh => "前往计费中心",
            Language::En => "Go to the Billing Center",
        };
        let _ = writeln!(
            body,
            "<p><a class=\"next\" href=\"{}\" rel=\"noreferrer\">{label}</a></p>",
            escape(url)
        );
    }
    if !opened.support_address.is_empty() {
        body.push_str(&paragraph(&match language {
            Language::Zh => format!("帮助：{}", opened.support_address),
            Language::En => format!("Help: {}", opened.support_address),
        }));
    }
    if let Some(until) = moment(opened.expire_time, "UTC") {
        body.push_str(&paragraph(&match language {
            Language::Zh => format!("此页面链接有效期至 {until}"),
            Language::En => format!("This link works until {until}"),
        }));
    }
    (title, body)
}

fn workspace_html(held: &HeldWorkspace, language: Language) -> String {
    let until = moment(held.lock_time, &held.time_zone).unwrap_or_default();
    let state = match (held.standing(), language) {
        (WorkspaceStanding::LockCountdown, Language::Zh) => format!("将于 {until} 锁定，数据将被清除"),
        (WorkspaceStanding::LockCountdown, Language::En) => {
            format!("will be locked on {until}, and its data deleted")
        }
        (WorkspaceStanding::Locked, Language::Zh) => "已锁定，数据已被清除".to_owned(),
        (WorkspaceStanding::Locked, Language::En) => "locked, its data is gone".to_owned(),
        (WorkspaceStanding::Dissolved, Language::Zh) => "已解散".to_owned(),
        (WorkspaceStanding::Dissolved, Language::En) => "dissolved".to_owned(),
        (WorkspaceStanding::Active | WorkspaceStanding::Unspecified, Language::Zh) => "正常使用中".to_owned(),
        (WorkspaceStanding::Active | WorkspaceStanding::Unspecified, Language::En) => {
            "in full use".to_owned()
        }
    };
    let colon = match language {
        Language::Zh => "：",
        Language::En => ": ",
    };
    let mut html = format!("<p><strong>{}</strong>{colon}{}</p>\n", escape(&held.name), escape(&state));
    let remedies: Vec<&str> =
        held.remedies().map(|r| remedy(r, language)).filter(|t| !t.is_empty()).collect();
    if !remedies.is_empty() {
        html.push_str("<ul>\n");
        for text in remedies {
            let _ = writeln!(html, "<li>{}</li>", escape(text));
        }
        html.push_str("</ul>\n");
    }
    html
}

fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// An instant as a reader of a place understands it.
fn moment(at: Option<prost_types::Timestamp>, zone_name: &str) -> Option<String> {
    let at: Timestamp = validate::timestamp("time", at).ok()?;
    let zone = zone(zone_name).unwrap_or(TimeZone::UTC);
    let name = if zone == TimeZone::UTC { "UTC" } else { zone_name };
    Some(format!("{} ({name})", at.to_zoned(zone).strftime("%Y-%m-%d %H:%M")))
}

#[cfg(test)]
mod tests {
    use tandem_proto::billing::v1::Debt;
    use tandem_proto::common::v1::Money as MoneyMessage;

    use super::*;
    use crate::config::BrandSection;

    fn pages() -> Pages {
        Pages::new(BrandSection { name: "Acme & Co".to_owned(), console_url: String::new() })
    }

    fn held(standing: WorkspaceStanding, remedies: &[Remedy]) -> HeldWorkspace {
        HeldWorkspace {
            workspace_id: "wks_1".to_owned(),
            name: "<b>shop</b>".to_owned(),
            standing: standing.into(),
            lock_time: Some(validate::to_message(Timestamp::UNIX_EPOCH)),
            time_zone: "Asia/Shanghai".to_owned(),
            remedies: remedies.iter().map(|remedy| (*remedy).into()).collect(),
            ..HeldWorkspace::default()
        }
    }

    fn opened(minor_units: i64) -> OpenUnlockLinkResponse {
        let all =
            [Remedy::Recharge, Remedy::BindCloud, Remedy::ChooseBillingCenter, Remedy::RestoreSubscription];
        OpenUnlockLinkResponse {
            debt: Some(Debt {
                username: "li\"".to_owned(),
                owed: Some(MoneyMessage { currency_code: "CNY".to_owned(), minor_units }),
                owed_bill_count: 3,
                settle_by_time: Some(validate::to_message(Timestamp::UNIX_EPOCH)),
                workspaces: vec![
                    held(WorkspaceStanding::LockCountdown, &all),
                    held(WorkspaceStanding::Locked, &[Remedy::Operator]),
                    held(WorkspaceStanding::Dissolved, &[]),
                    held(WorkspaceStanding::Active, &[]),
                ],
                workspace_count: 7,
                ..Debt::default()
            }),
            expire_time: Some(validate::to_message(Timestamp::UNIX_EPOCH)),
            billing_center_url: "https://billing.example.com/?a=1&b=2".to_owned(),
            support_address: "help@example.com".to_owned(),
            ..OpenUnlockLinkResponse::default()
        }
    }

    #[test]
    fn the_page_names_the_debt_the_deadline_and_every_remedy_in_both_languages() {
        for language in [Language::Zh, Language::En] {
            let html = pages().unlock_html(&UnlockPage::Opened(Box::new(opened(12_345))), language);
            for part in [
                "123.45 CNY",
                "1970-01-01 08:00 (Asia/Shanghai)",
                "1970-01-01 00:00 (UTC)",
                "https://billing.example.com/?a=1&amp;b=2",
                "help@example.com",
                "li&quot;",
                "&lt;b&gt;shop",
                "Acme &amp; Co",
            ] {
                assert!(html.contains(part), "{part} is missing in {html}");
            }
            assert_eq!(html.matches("<li>").count(), 5);
            assert!(!html.contains("<b>") && !html.contains("<script") && !html.contains("<form"));
        }
        let html = pages().unlock_html(&UnlockPage::Opened(Box::new(opened(0))), Language::En);
        assert!(html.contains("Nothing is owed") && !html.contains("To be settled"));
    }

    #[test]
    fn an_address_that_is_no_web_page_is_no_link() {
        let opened =
            OpenUnlockLinkResponse { billing_center_url: "javascript:alert(1)".to_owned(), ..opened(1) };
        let html = pages().unlock_html(&UnlockPage::Opened(Box::new(opened)), Language::En);
        assert!(!html.contains("href"));
    }
}
