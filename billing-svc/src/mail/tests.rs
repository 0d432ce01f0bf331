use super::*;

fn letterhead() -> Letterhead {
    Letterhead::new(&MailSection {
        brand_name: "Acme".to_owned(),
        support_address: "help@acme.example".to_owned(),
        portal_url: "https://billing.acme.example".to_owned(),
        message_id_domain: "acme.example".to_owned(),
        ..MailSection::default()
    })
}

const LINK: &str = "https://tandem.example/unlock/abc";

fn letters() -> Vec<Letter> {
    let names = || vec!["shop".to_owned(), "{brand}".to_owned()];
    let text = |text: &str| text.to_owned();
    vec![
        Letter::VerificationCode { username: text("li"), code: text("012345"), minutes: 10 },
        Letter::Welcome { username: text("li"), company: text("Kunde AG") },
        Letter::BillsIssued {
            bills: vec![IssuedBill {
                day: text("2026-03-01"),
                workspace: text("shop"),
                payable: text("13.40 CNY"),
                paid: text("3.40 CNY"),
                arrears: text("10.00 CNY"),
            }],
        },
        Letter::ArrearsStarted { amount: text("10.00 CNY"), lock_day: text("2026-03-15"), link: text(LINK) },
        Letter::CreditExpiring {
            credits: vec![ExpiringCredit {
                kind: LotKind::PrepaidCard,
                id: text("crd_1"),
                left: text("12.50 CNY"),
                last_day: text("2026-03-31"),
            }],
        },
        Letter::WorkspaceLockSoon {
            workspaces: names(),
            days: 3,
            deadline: text("2026-03-15"),
            link: text(LINK),
        },
        Letter::WorkspaceLocked { workspaces: names() },
        Letter::WorkspaceUnlocked { workspaces: names() },
        Letter::WorkspaceUnlockedForNow {
            workspaces: names(),
            amount: text("10.00 CNY"),
            until: text("2026-03-20"),
            lock_day: text("2026-04-03"),
        },
        Letter::CashChanged { change: CashChange::Credit, amount: text("5.00 CNY") },
        Letter::CashChanged { change: CashChange::Debit, amount: text("5.00 CNY") },
        Letter::CashChanged {
            change: CashChange::Refund { reference: text("bank-7") },
            amount: text("5.00 CNY"),
        },
        Letter::DebtSettled { workspaces: names() },
        Letter::WorkspaceDissolved { workspaces: names() },
        Letter::SubscriptionEnded {
            vendor: Vendor::Alibaba,
            cloud_account: text("1744500000000021"),
            workspaces: names(),
            method: SettlementMethod::BillingCenter,
            deadline: Some(text("2026-03-15")),
        },
        Letter::SubscriptionSuspended {
            vendor: Vendor::Alibaba,
            cloud_account: text("1744500000000021"),
            workspaces: names(),
            deadline: Some(text("2026-03-15")),
        },
        Letter::SpendAlert {
            workspace: text("shop"),
            item: text("LOG_COUNT"),
            period: text("2026-03-05"),
            threshold: text("100.00 CNY"),
            spent: text("100.50 CNY"),
        },
        Letter::PackagesOrdered {
            packages: vec![PackageFacts {
                offer: text("start-up"),
                multiple: 7,
                first_day: text("2026-03-01"),
                last_day: text("2027-03-07"),
                price: text("42000.00 CNY"),
            }],
            charged: text("43000.00 CNY"),
        },
        Letter::PackageEndsSoon { offer: text("start-up"), last_day: text("2027-03-07"), days: 30 },
        Letter::CompanyVerified { company: text("Kunde AG") },
        Letter::CompanyRejected { company: text("Kunde AG"), reason: text("no such number") },
        Letter::InvoiceIssued { title: text("Kunde AG"), amount: text("9.00 CNY"), number: text("0441") },
        Letter::InvoiceSent {
            title: text("Kunde AG"),
            amount: text("9.00 CNY"),
            number: text("0441"),
            tracking: text("SF 1029"),
        },
        Letter::InvoiceRejected {
            title: text("Kunde AG"),
            amount: text("9.00 CNY"),
            reason: text("wrong title"),
        },
        Letter::SettlementChanged {
            workspace: text("shop"),
            old_method: SettlementMethod::BillingCenter,
            method: SettlementMethod::Cloud(Vendor::Alibaba),
        },
        Letter::ChangeExpired { workspace: text("shop"), method: SettlementMethod::Cloud(Vendor::Alibaba) },
        Letter::MoveCode {
            workspace: text("shop"),
            from: text("li"),
            to: text("wang"),
            code: text("012345"),
            minutes: 10,
        },
        Letter::WorkspaceMoved {
            workspace: text("shop"),
            from: text("li"),
            to: text("wang"),
            first_day: text("2026-03-01"),
        },
        Letter::ContactChanged { username: text("li"), kind: ContactKind::Email },
        Letter::PasswordChanged { username: text("li") },
        Letter::MonthlyBill(MonthInMail {
            month: text("2026-03"),
            payable: text("13.40 CNY"),
            paid: vec![(Instrument::PrepaidCard, text("3.40 CNY")), (Instrument::Cash, text("2.00 CNY"))],
            in_cloud: text("1.00 CNY"),
            arrears: text("7.00 CNY"),
            workspaces: 12,
            items: vec![(Some("TRIGGER"), text("13.39 CNY")), (None, text("0.01 CNY"))],
        }),
    ]
}

fn read(outgoing: &Outgoing) -> Mail {
    serde_json::from_slice(&outgoing.payload).unwrap()
}

#[test]
fn every_placeholder_is_filled_in_every_letter_and_language() {
    for letter in letters() {
        for language in Language::ALL {
            let mail = read(&outgoing(&letterhead(), &letter, "a@b.c", *language, "bac_1", "evt_1"));
            // One workspace is called `{brand}`, and a name stays what it is.
            let text = format!("{}\n{}", mail.subject, mail.text).replace("    {brand}\n", "");
            assert!(!text.contains(['{', '}']), "{letter:?} {language:?}: {text}");
            assert!(text.contains("Acme") && text.contains("help@acme.example"), "{text}");
            assert!(!mail.subject.is_empty() && !mail.subject.contains('\n'));
        }
    }
}

#[test]
fn every_value_is_read_in_every_language() {
    for language in Language::ALL {
        let cloud = if *language == Language::Zh { "阿里云" } else { "Alibaba Cloud" };
        for (letter, wanted) in letters().iter().zip([
            vec!["li", "012345", "10"],
            vec!["li", "Kunde AG"],
            vec!["2026-03-01", "shop", "13.40 CNY", "3.40 CNY", "10.00 CNY"],
            vec!["10.00 CNY", "2026-03-15", LINK],
            vec!["crd_1", "12.50 CNY", "2026-03-31"],
            vec!["shop", "3", "2026-03-15", LINK],
            vec!["shop"],
            vec!["shop"],
            vec!["shop", "10.00 CNY", "2026-03-20", "2026-04-03"],
            vec!["5.00 CNY"],
            vec!["5.00 CNY"],
            vec!["5.00 CNY", "bank-7"],
            vec!["shop"],
            vec!["shop"],
            vec![cloud, "1744500000000021", "shop", "2026-03-15"],
            vec![cloud, "1744500000000021", "shop", "2026-03-15"],
            vec!["shop", "LOG_COUNT", "2026-03-05", "100.00 CNY", "100.50 CNY"],
            vec!["start-up", "7", "2026-03-01", "2027-03-07", "42000.00 CNY", "43000.00 CNY"],
            vec!["start-up", "2027-03-07", "30"],
            vec!["Kunde AG"],
            vec!["Kunde AG", "no such number"],
            vec!["Kunde AG", "9.00 CNY", "0441"],
            vec!["Kunde AG", "9.00 CNY", "0441", "SF 1029"],
            vec!["Kunde AG", "9.00 CNY", "wrong title"],
            vec!["shop", cloud],
            vec!["shop", cloud],
            vec!["shop", "li", "wang", "012345", "10"],
            vec!["shop", "li", "wang", "2026-03-01"],
            vec!["li"],
            vec!["li"],
            vec![
                "2026-03",
                "13.40 CNY",
                "3.40 CNY",
                "2.00 CNY",
                "1.00 CNY",
                "7.00 CNY",
                "12",
                "TRIGGER",
                "0.01 CNY",
            ],
        ]) {
            let mail = read(&outgoing(&letterhead(), letter, "a@b.c", *language, "bac_1", "evt_1"));
            let text = format!("{}\n{}", mail.subject, mail.text);
            for value in wanted {
                assert!(text.contains(value), "{value} is missing in {text}");
            }
        }
    }
}

#[test]
fn an_event_and_recipient_have_one_message_id() {
    let id = |to: &str, key: &str| {
        read(&outgoing(&letterhead(), &letters()[1], to, Language::En, "bac_1", key)).message_id
    };
    assert_eq!(id("a@b.c", "end:1"), id("A@b.c", "end:1"));
    assert_ne!(id("a@b.c", "end:1"), id("x@b.c", "end:1"));
    assert_ne!(id("a@b.c", "end:1"), id("a@b.c", "end:2"));
    assert!(id("a@b.c", "end:1").ends_with("@acme.example"));
}

#[test]
fn a_code_fits_one_text_message() {
    for language in Language::ALL {
        let text = code_text(&letterhead(), "012345", 10, *language);
        assert!(text.contains("012345") && text.contains("10") && text.contains("Acme"), "{text}");
        // A text message of letters outside the basic alphabet has 70 characters.
        assert!(text.chars().count() <= if text.is_ascii() { 160 } else { 70 }, "{text}");
        assert!(!text.contains(['\n', '{', '}']), "{text}");
    }
}

#[test]
fn a_name_cannot_add_lines_or_headers() {
    let letter = Letter::Welcome { username: "li".to_owned(), company: "x\r\nBcc: a@b.c".to_owned() };
    let mail = read(&outgoing(&letterhead(), &letter, "a@b.c", Language::En, "bac_1", "k"));
    assert!(mail.text.contains("x  Bcc: a@b.c"));
}

#[test]
fn without_a_deadline_nothing_is_said_of_one() {
    let letter = Letter::SubscriptionEnded {
        vendor: Vendor::Alibaba,
        cloud_account: "1".to_owned(),
        workspaces: vec!["shop".to_owned(); 102],
        method: SettlementMethod::BillingCenter,
        deadline: None,
    };
    let mail = read(&outgoing(&letterhead(), &letter, "a@b.c", Language::En, "bac_1", "k"));
    assert!(!mail.text.contains("locked") && mail.text.contains("… and 2 more"), "{}", mail.text);
    let at = "2026-03-15T00:00:00Z".parse().unwrap();
    assert_eq!(moment(at, "Asia/Shanghai"), "2026-03-15 08:00 (Asia/Shanghai)");
    assert_eq!(moment(at, "Nowhere/Else"), "2026-03-15 00:00 (UTC)");
}

#[test]
fn without_a_public_address_no_link_is_spoken_of() {
    for language in Language::ALL {
        let arrears =
            Letter::ArrearsStarted { amount: "1".to_owned(), lock_day: "2".to_owned(), link: String::new() };
        let soon = Letter::WorkspaceLockSoon {
            workspaces: vec!["shop".to_owned()],
            days: 1,
            deadline: "2".to_owned(),
            link: String::new(),
        };
        for letter in [arrears, soon] {
            let mail = read(&outgoing(&letterhead(), &letter, "a@b.c", *language, "bac_1", "k"));
            assert!(!mail.text.contains("24") && !mail.text.contains("1 days"), "{}", mail.text);
        }
    }
}
