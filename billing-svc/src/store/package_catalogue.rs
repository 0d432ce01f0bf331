//! The shipped catalogue of packages, read from its data file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, LineAmount, Money, parse_micros};
use tandem_proto::quantity::Quantity;

use crate::domain::package::{Factors, PackageItem, PackageKind};
use crate::domain::package_offer::{Catalogue, Offer, term_price};
use crate::domain::price::Price;

const SHIPPED: &str = include_str!("../../data/packages.toml");
/// Packages are sold in this currency only.
pub const CURRENCY: Currency = Currency::Cny;

/// What is wrong with a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("catalogue of packages: {0}")]
pub struct BadCatalogue(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    item: Vec<FileItem>,
    annual: Vec<FileAnnual>,
    traffic: Vec<FileTraffic>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileItem {
    item: String,
    unit_price: String,
    factors: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAnnual {
    code: String,
    price: i64,
    quotas: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTraffic {
    code: String,
    item: String,
    size: i64,
    day_price: String,
}

/// The shipped catalogue. Fails when the data file is wrong, which a test rules out.
pub fn shipped() -> Result<&'static Catalogue, BadCatalogue> {
    static READ: LazyLock<Result<Catalogue, BadCatalogue>> = LazyLock::new(|| parse(SHIPPED));
    READ.as_ref().map_err(Clone::clone)
}

/// Reads a catalogue.
pub fn parse(text: &str) -> Result<Catalogue, BadCatalogue> {
    let file: File = toml::from_str(text).map_err(|error| BadCatalogue(error.to_string()))?;
    let mut contents = BTreeMap::new();
    for FileItem { item, unit_price, factors } in &file.item {
        let known: BillingItem = item.parse().map_err(|_| wrong(item, "is no billing item"))?;
        let factors: Factors = factors.parse().map_err(|_| wrong(item, "has bad factors"))?;
        let price = Price { unit_size: known.unit_size(), unit_price: yuan(item, unit_price)? };
        contents.insert(item.as_str(), PackageItem { item: known, quota: Quantity::ZERO, price, factors });
    }
    let of = |code: &str, item: &str, units: i64| {
        let content = contents.get(item).ok_or_else(|| wrong(code, "contains an item that is not listed"))?;
        let quota = Quantity::whole(units).filter(|quota| *quota > Quantity::ZERO);
        let quota = quota.ok_or_else(|| wrong(code, "has a quota that is not above zero"))?;
        Ok(PackageItem { quota, ..content.clone() })
    };
    let mut offers = Vec::new();
    for FileAnnual { code, price, quotas } in &file.annual {
        let items: Result<Vec<_>, _> = quotas.iter().map(|(item, units)| of(code, item, *units)).collect();
        let mut items = items?;
        items.sort_by_key(|item| item.item);
        let minor = price.checked_mul(100).filter(|minor| *minor > 0);
        let minor = minor.ok_or_else(|| wrong(code, "has a price that is not above zero"))?;
        let price = Money { minor, currency: CURRENCY };
        offers.push(Offer { code: code.clone(), kind: PackageKind::Annual, price, items });
    }
    for FileTraffic { code, item, size, day_price } in &file.traffic {
        let items = vec![of(code, item, *size)?];
        let price = term_price(yuan(code, day_price)?).filter(|price| price.minor > 0);
        let price = price.ok_or_else(|| wrong(code, "has a price that comes to no whole fen"))?;
        offers.push(Offer { code: code.clone(), kind: PackageKind::Traffic, price, items });
    }
    let mut codes: Vec<_> = offers.iter().map(|offer| offer.code.as_str()).collect();
    codes.sort_unstable();
    if let Some(twice) = codes.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(wrong(twice[0], "is there twice"));
    }
    Ok(Catalogue { offers })
}

fn yuan(code: &str, text: &str) -> Result<LineAmount, BadCatalogue> {
    let micros = parse_micros(text).ok_or_else(|| wrong(code, "has a price that is no decimal"))?;
    Ok(LineAmount { micros, currency: CURRENCY })
}

fn wrong(what: &str, why: &str) -> BadCatalogue {
    BadCatalogue(format!("{what} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::package::is_larger;
    use crate::domain::package_offer::pay_as_you_go;

    fn offer(kind: PackageKind, code: &str) -> Offer {
        shipped().unwrap().find(kind, code).unwrap().clone()
    }

    /// `domain.md` 4.9: the pay-as-you-go column proves the quotas and unit prices.
    #[test]
    fn the_documented_columns_come_out() {
        for (code, without, price) in
            [("start-up", 72_168, 42_000), ("growth", 517_080, 280_000), ("enterprise", 1_019_280, 510_000)]
        {
            let offer = offer(PackageKind::Annual, code);
            assert_eq!(pay_as_you_go(&offer.items).unwrap().micros, without * 1_000_000, "{code}");
            assert_eq!(offer.price.minor, price * 100, "{code}");
        }
    }

    #[test]
    fn traffic_packages_cost_what_their_quota_costs() {
        let catalogue = shipped().unwrap();
        let traffic = catalogue.offers.iter().filter(|offer| offer.kind == PackageKind::Traffic);
        let mut seen = 0;
        for offer in traffic {
            assert_eq!(
                pay_as_you_go(&offer.items).unwrap().micros,
                offer.price.minor * 10_000,
                "{}",
                offer.code
            );
            seen += 1;
        }
        assert_eq!(seen, 7);
        // 30 M logs at 80 % are 36 a day.
        let thirty = offer(PackageKind::Traffic, "logs").times(30, 80).unwrap();
        assert_eq!(thirty.price.minor, 36 * 372 * 100);
        assert_eq!(thirty.items[0].quota, Quantity::whole(30_000_000).unwrap());
    }

    #[test]
    fn each_annual_package_is_larger_than_the_one_before() {
        let [small, middle, large] =
            ["start-up", "growth", "enterprise"].map(|code| offer(PackageKind::Annual, code).items);
        assert!(is_larger(&middle, &small) && is_larger(&large, &middle) && is_larger(&large, &small));
        assert!(!is_larger(&small, &middle) && !is_larger(&small, &small));
    }

    #[test]
    fn vouchers_pay_no_messages_and_tests() {
        let restricted: Vec<_> = shipped().unwrap().offers.iter().filter(|o| o.is_restricted()).collect();
        assert_eq!(restricted.iter().map(|o| o.code.as_str()).collect::<Vec<_>>(), ["tests", "messages"]);
    }

    #[test]
    fn a_bad_catalogue_is_refused() {
        let item = "[[item]]\nitem = \"SMS\"\nunit_price = \"1\"\nfactors = \"0:1\"\n";
        for (text, why) in [
            ("[[item]]\nitem = \"X\"\nunit_price = \"1\"\nfactors = \"0:1\"\n".to_owned(), "no billing item"),
            (
                format!(
                    "{item}[[traffic]]\ncode = \"a\"\nitem = \"LOG_COUNT\"\nsize = 1\nday_price = \"1\"\n"
                ),
                "not listed",
            ),
            (
                format!("{item}[[traffic]]\ncode = \"a\"\nitem = \"SMS\"\nsize = 0\nday_price = \"1\"\n"),
                "above zero",
            ),
        ] {
            let text = format!(
                "annual = []\n{}{text}",
                if text.contains("traffic") { "" } else { "traffic = []\n" }
            );
            assert!(parse(&text).unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
