//! What is sold: the catalogue of annual and traffic packages (`domain.md` 4.9).

use tandem_proto::item::BillingItem;
use tandem_proto::money::{LineAmount, MICROS_PER_MINOR, Money, MoneyError};
use tandem_proto::quantity::Quantity;

use super::package::{PackageItem, PackageKind, TERM_DAYS, agreed};

/// Something that can be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name in orders.
    pub code: String,
    /// What it is.
    pub kind: PackageKind,
    /// What it costs for 372 days; of a traffic package for its base size.
    pub price: Money,
    /// What it contains a day; of a traffic package its base size.
    pub items: Vec<PackageItem>,
}

/// Everything that can be bought: annual packages from the smallest on, then traffic packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// The offers.
    pub offers: Vec<Offer>,
}

/// What an order of an offer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sized {
    /// What it contains a day.
    pub items: Vec<PackageItem>,
    /// What it costs for 372 days.
    pub price: Money,
}

impl Catalogue {
    /// Finds an offer of a kind.
    pub fn find(&self, kind: PackageKind, code: &str) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.kind == kind && offer.code == code)
    }

    /// The codes of a kind, for whoever has named another.
    pub fn codes(&self, kind: PackageKind) -> String {
        let codes = self.offers.iter().filter(|offer| offer.kind == kind).map(|offer| offer.code.as_str());
        codes.collect::<Vec<_>>().join(", ")
    }
}

impl Offer {
    /// The offer so many times, at what was agreed of its price.
    pub fn times(&self, multiple: i64, percent: i32) -> Result<Sized, MoneyError> {
        let times = |item: &PackageItem| {
            let hundredths = item.quota.hundredths.checked_mul(multiple).ok_or(MoneyError::OutOfRange)?;
            Ok(PackageItem { quota: Quantity { hundredths }, ..item.clone() })
        };
        let items = self.items.iter().map(times).collect::<Result<_, MoneyError>>()?;
        let minor = self.price.minor.checked_mul(multiple).ok_or(MoneyError::OutOfRange)?;
        Ok(Sized { items, price: agreed(Money { minor, ..self.price }, percent)? })
    }

    /// Whether all it contains is restricted: vouchers never pay for it (`domain.md` 4.2).
    pub fn is_restricted(&self) -> bool {
        !self.items.is_empty() && self.items.iter().all(|item| item.item.is_restricted())
    }
}

/// What a traffic package of a price a day costs for 372 days. The catalogue's prices come to whole minor units.
pub fn term_price(day_price: LineAmount) -> Option<Money> {
    let micros = day_price.micros.checked_mul(i64::from(TERM_DAYS))?;
    (micros % MICROS_PER_MINOR == 0)
        .then_some(Money { minor: micros / MICROS_PER_MINOR, currency: day_price.currency })
}

/// What the quotas of all of a package's days cost without it, for comparison.
pub fn pay_as_you_go(items: &[PackageItem]) -> Result<LineAmount, MoneyError> {
    let Some(first) = items.first() else { return Err(MoneyError::OutOfRange) };
    let mut sum = LineAmount::zero(first.price.unit_price.currency);
    for PackageItem { quota, price, .. } in items {
        let day = LineAmount::of(*quota, price.unit_size, price.unit_price)?;
        let micros = day.micros.checked_mul(i64::from(TERM_DAYS)).ok_or(MoneyError::OutOfRange)?;
        sum = sum.checked_add(LineAmount { micros, ..day })?;
    }
    Ok(sum)
}

/// Whether an item is part of any package although it is not charged by use.
pub fn is_only_in_packages(item: BillingItem) -> bool {
    item.pricing_model() == tandem_proto::item::PricingModel::StatisticsOnly
}
