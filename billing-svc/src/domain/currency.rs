//! When an account's currency may be changed (`domain.md` 2.4, 3.17, D25): nothing is ever converted, so nothing may be open.

/// What an account has open in its currency: how many of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Open {
    /// Vouchers, prepaid cards and remainders of cash.
    pub lots: i64,
    /// Balances of debt that are not zero.
    pub debts: i64,
    /// Bills that are not paid, wherever they wait.
    pub bills: i64,
    /// Recharges that wait for their money.
    pub recharges: i64,
    /// Live purchases in clouds' markets: they are charged in their market's currency.
    pub purchases: i64,
    /// Closed days of the account's sites whose bills are not all made.
    pub closed_days: i64,
    /// Days that have a final bill of a purchase and not yet their own.
    pub begun_days: i64,
}

/// One thing that is in the way, by a name that callers may branch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// Its name.
    pub name: &'static str,
    /// How many of it.
    pub count: i64,
    /// What it is, and what ends it.
    pub what: &'static str,
}

/// Everything that is in the way of a change; empty when there is nothing.
pub fn in_the_way(open: Open) -> Vec<InTheWay> {
    let Open { lots, debts, bills, recharges, purchases, closed_days, begun_days } = open;
    [
        ("lots", lots, "vouchers, prepaid cards or remainders of cash have a balance: let them be used up"),
        ("overdraft", debts, "debt is open: let it be repaid"),
        ("open_bills", bills, "bills are not paid: let them be settled"),
        ("open_recharges", recharges, "recharges wait for their money: book or close them"),
        ("live_purchases", purchases, "purchases in a cloud's market are live: let them be cancelled there"),
        ("closed_days", closed_days, "closed days of its sites are still being billed: try again then"),
        ("begun_days", begun_days, "days are billed in part: try again when they are over"),
    ]
    .into_iter()
    .filter(|(_, count, _)| *count != 0)
    .map(|(name, count, what)| InTheWay { name, count, what })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_alone_is_in_the_way_and_named() {
        assert_eq!(in_the_way(Open::default()), []);
        let one = |open: Open| in_the_way(open).into_iter().map(|w| (w.name, w.count)).collect::<Vec<_>>();
        assert_eq!(one(Open { lots: 2, ..Open::default() }), [("lots", 2)]);
        assert_eq!(one(Open { debts: 1, ..Open::default() }), [("overdraft", 1)]);
        assert_eq!(one(Open { bills: 3, ..Open::default() }), [("open_bills", 3)]);
        assert_eq!(one(Open { recharges: 1, ..Open::default() }), [("open_recharges", 1)]);
        assert_eq!(one(Open { purchases: 1, ..Open::default() }), [("live_purchases", 1)]);
        assert_eq!(one(Open { closed_days: 1, ..Open::default() }), [("closed_days", 1)]);
        assert_eq!(one(Open { begun_days: 1, ..Open::default() }), [("begun_days", 1)]);
    }
}
