//! The rules of invoices.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tandem_proto::day::zone;

use super::*;

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

#[test]
fn a_month_is_generated_from_the_fourth_on() {
    let shanghai = zone("Asia/Shanghai").unwrap();
    assert_eq!(month("2026-02").generated_at(&shanghai).to_string(), "2026-03-03T16:00:00Z");
    let open = |now: &str| Month::first_open(now.parse().unwrap(), &shanghai).to_string();
    assert_eq!(open("2026-03-03T15:59:59Z"), "2026-02");
    assert_eq!(open("2026-03-03T16:00:00Z"), "2026-03");
    assert_eq!(open("2026-03-31T16:00:00Z"), "2026-03", "the 1st of April there");
    assert_eq!(open("2027-01-02T00:00:00Z"), "2026-12");
}

#[test]
fn months_read_back_and_others_are_refused() {
    for text in ["2026-01", "2026-12", "2024-02"] {
        assert_eq!(month(text).to_string(), text);
        assert_eq!(Month::from_number(month(text).number()), Ok(month(text)));
    }
    assert_eq!(month("2024-02").last_day().to_string(), "2024-02-29");
    for bad in ["", "2026-13", "2026-00", "2026-1", "202601", "2026-01-01", "２０２６-01", "-026-01"] {
        assert_eq!(bad.parse::<Month>(), Err(BadMonth), "accepted {bad:?}");
    }
}

#[test]
fn a_special_invoice_needs_bank_and_registration() {
    let details = Details {
        kind: InvoiceKind::VatSpecial,
        bank: "ICBC".into(),
        bank_account: String::new(),
        registered_address: "1 Main Road".into(),
        landline: String::new(),
    };
    assert_eq!(details.missing(), ["bank_account", "landline"]);
    assert!(Details { kind: InvoiceKind::ElectronicOrdinary, ..details }.missing().is_empty());
    let address =
        Address { recipient: "Lin".into(), phone: "1".into(), email: "a@b.c".into(), postal: String::new() };
    assert_eq!(address.missing_for(InvoiceKind::ElectronicOrdinary), None);
    assert_eq!(address.missing_for(InvoiceKind::VatOrdinary), Some("address"));
}

#[test]
fn only_the_listed_steps_are_taken() {
    use InvoiceState::{Issued, Rejected, Requested, Sent};
    let allowed = [
        (Requested, Step::Issue, Issued),
        (Requested, Step::Reject, Rejected),
        (Issued, Step::Send, Sent),
        (Issued, Step::Reject, Rejected),
    ];
    for state in InvoiceState::ALL.iter().copied() {
        for step in [Step::Issue, Step::Send, Step::Reject] {
            let expected = allowed.iter().find(|(from, by, _)| (*from, *by) == (state, step));
            assert_eq!(after(state, step), expected.map(|(_, _, to)| *to), "{state:?} {step:?}");
        }
    }
}

#[test]
fn a_request_is_refused_by_the_rules() {
    let march = Source::Month(month("2026-03"));
    let april = Source::Month(month("2026-04"));
    let found = [Invoiceable { source: march.clone(), paid: 500, invoiced: 200 }];
    let ask = |chosen: &[Source], cash| request(chosen, &found, cash, month("2026-04"));
    assert_eq!(
        ask(std::slice::from_ref(&march), 1),
        Ok((vec![Line { source: march.clone(), amount: 300 }], 300))
    );
    assert_eq!(ask(std::slice::from_ref(&march), 0), Err(RequestError::NoCash));
    assert_eq!(ask(&[], 1), Err(RequestError::Count));
    assert_eq!(ask(&[march.clone(), march.clone()], 1), Err(RequestError::Twice(march.clone())));
    assert_eq!(ask(&[april], 1), Err(RequestError::NotGenerated(month("2026-04"))));
    let february = Source::Month(month("2026-02"));
    assert_eq!(ask(&[march, february.clone()], 1), Err(RequestError::NothingOpen(february)));
}

#[derive(Debug, Clone)]
enum Act {
    Pay(usize, i64),
    Request(Vec<usize>),
    Reject(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0usize..4, 1i64..1_000_000).prop_map(|(at, paid)| Act::Pay(at, paid)),
        prop::collection::vec(0usize..4, 1..5).prop_map(Act::Request),
        (0usize..20).prop_map(Act::Reject),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever is paid, requested and rejected: nothing is invoiced twice, and everything can be.
    #[test]
    fn what_is_invoiced_is_what_was_paid_and_only_once(acts in prop::collection::vec(act(), 0..40)) {
        let sources: Vec<Source> = (1..5).map(|m| Source::Month(Month::from_number(202_600 + m).unwrap())).collect();
        let mut paid: BTreeMap<Source, i64> = BTreeMap::new();
        let mut invoices: Vec<Option<Vec<Line>>> = Vec::new();
        let standing = |paid: &BTreeMap<Source, i64>, invoices: &[Option<Vec<Line>>]| -> Vec<Invoiceable> {
            let invoiced = |source: &Source| {
                invoices.iter().flatten().flatten().filter(|l| l.source == *source).map(|l| l.amount).sum()
            };
            paid.iter().map(|(s, paid)| Invoiceable { source: s.clone(), paid: *paid, invoiced: invoiced(s) }).collect()
        };
        for act in acts {
            match act {
                Act::Pay(at, minor) => *paid.entry(sources[at].clone()).or_default() += minor,
                Act::Request(at) => {
                    let chosen: Vec<Source> = at.iter().map(|at| sources[*at].clone()).collect();
                    let found = standing(&paid, &invoices);
                    if let Ok((lines, amount)) = request(&chosen, &found, 1, month("2026-05")) {
                        prop_assert_eq!(lines.iter().map(|l| l.amount).sum::<i64>(), amount);
                        prop_assert!(lines.iter().all(|l| l.amount > 0));
                        invoices.push(Some(lines));
                    }
                }
                Act::Reject(at) => {
                    if let Some(invoice) = invoices.get_mut(at) {
                        *invoice = None;
                    }
                }
            }
            for found in standing(&paid, &invoices) {
                prop_assert!(found.invoiced <= found.paid, "{found:?}");
            }
        }
        let chosen: Vec<Source> =
            standing(&paid, &invoices).into_iter().filter(|i| i.open() > 0).map(|i| i.source).collect();
        if !chosen.is_empty() {
            let (lines, _) = request(&chosen, &standing(&paid, &invoices), 1, month("2026-05")).unwrap();
            invoices.push(Some(lines));
        }
        prop_assert!(standing(&paid, &invoices).iter().all(|i| i.open() == 0));
    }
}
