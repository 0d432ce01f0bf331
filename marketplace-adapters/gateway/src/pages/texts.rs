//! What pages say, in both languages.

use tandem_proto::language::Language;

use super::Page;

/// The words of one page. `{cloud}` and `{brand}` stand for names.
pub(super) struct Text {
    pub(super) title: &'static str,
    pub(super) body: &'static [&'static str],
}

/// The words around a ticket.
pub(super) struct Labels {
    pub(super) ticket: &'static str,
    pub(super) valid_until: &'static str,
    pub(super) console: &'static str,
}

pub(super) fn labels(language: Language) -> Labels {
    match language {
        Language::Zh => {
            Labels {
                ticket: "开通凭证", valid_until: "有效期至（协调世界时）：", console: "前往 {brand}"
            }
        }
        Language::En => {
            Labels { ticket: "Landing ticket", valid_until: "Valid until (UTC):", console: "Go to {brand}" }
        }
    }
}

pub(super) fn text(page: &Page, language: Language) -> Text {
    match language {
        Language::Zh => zh(page),
        Language::En => en(page),
    }
}

fn zh(page: &Page) -> Text {
    let (title, body): (_, &[_]) = match page {
        Page::Arrived { already_bound: false, .. } => (
            "已确认您在{cloud}市场的购买",
            &[
                "下一步：注册或登录 {brand}，在“选择开通方式”中选择{cloud}，并填入下面的开通凭证。",
                "凭证只能使用一次，一小时内有效。过期后请从{cloud}市场的“已购买的服务”重新进入。",
            ],
        ),
        Page::Arrived { already_bound: true, .. } => (
            "此购买已绑定账号",
            &[
                "下一步：登录 {brand}，即可继续使用。",
                "如需为另一个工作空间使用此购买，请在登录后填入下面的凭证；凭证只能使用一次，一小时内有效。",
            ],
        ),
        Page::LinkExpired => ("链接已过期", &["请回到{cloud}市场的“已购买的服务”，重新点击免登链接。"]),
        Page::LinkUsed => {
            ("链接已使用过", &["每个链接只能打开一次。请回到{cloud}市场的“已购买的服务”，重新点击免登链接。"])
        }
        Page::LinkInvalid => {
            ("链接无效", &["请不要手动输入或修改链接。请从{cloud}市场的“已购买的服务”进入。"])
        }
        Page::PurchaseUnknown => (
            "未找到此购买",
            &["刚刚下单时，市场的通知可能还在路上。请稍等一分钟，再从{cloud}市场的“已购买的服务”进入。"],
        ),
        Page::PurchasePending => ("购买正在准备中", &["请稍等片刻，再从{cloud}市场的“已购买的服务”进入。"]),
        Page::PurchaseSuspended => {
            ("此购买已被暂停", &["请先在{cloud}续费或结清欠款，再从“已购买的服务”进入。"])
        }
        Page::PurchaseEnded => ("此购买已结束", &["请在{cloud}市场重新购买，再从“已购买的服务”进入。"]),
        Page::TryLater => {
            ("暂时无法打开", &["您的购买不受影响。请过几分钟，再从{cloud}市场的“已购买的服务”进入。"])
        }
    };
    Text { title, body }
}

fn en(page: &Page) -> Text {
    let (title, body): (_, &[_]) = match page {
        Page::Arrived { already_bound: false, .. } => (
            "Your purchase on {cloud} is confirmed",
            &[
                "Next: register or sign in at {brand}, choose {cloud} as the activation method, and enter the landing ticket below.",
                "The ticket can be used once, within an hour. After that, come again from your purchased services in the {cloud} marketplace.",
            ],
        ),
        Page::Arrived { already_bound: true, .. } => (
            "This purchase is already bound to an account",
            &[
                "Next: sign in at {brand} and go on.",
                "To use the purchase for another workspace, enter the landing ticket below after signing in; it can be used once, within an hour.",
            ],
        ),
        Page::LinkExpired => (
            "The link has expired",
            &["Open it again from your purchased services in the {cloud} marketplace."],
        ),
        Page::LinkUsed => (
            "The link was used before",
            &["Each link opens once. Open it again from your purchased services in the {cloud} marketplace."],
        ),
        Page::LinkInvalid => (
            "The link is not valid",
            &[
                "Do not type or change the link. Open it from your purchased services in the {cloud} marketplace.",
            ],
        ),
        Page::PurchaseUnknown => (
            "We do not know this purchase yet",
            &[
                "Right after an order, the marketplace's notice may still be on its way. Wait a minute, then come again from your purchased services in the {cloud} marketplace.",
            ],
        ),
        Page::PurchasePending => (
            "The purchase is being prepared",
            &["Wait a moment, then come again from your purchased services in the {cloud} marketplace."],
        ),
        Page::PurchaseSuspended => (
            "The purchase is suspended",
            &[
                "Renew it or settle what is overdue with {cloud}, then come again from your purchased services.",
            ],
        ),
        Page::PurchaseEnded => (
            "The purchase has ended",
            &["Buy again in the {cloud} marketplace, then come from your purchased services."],
        ),
        Page::TryLater => (
            "This cannot be opened right now",
            &[
                "Your purchase is safe. Come again in a few minutes from your purchased services in the {cloud} marketplace.",
            ],
        ),
    };
    Text { title, body }
}
