//! What an order of packages names, and what it comes to.

use jiff::Timestamp;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{PackageOrderId, WorkspaceId};
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use super::package_acts::Traffic;
use crate::domain::account::BillingAccount;
use crate::domain::package::{self as rules, FULL_PERCENT, Package, PackageKind};
use crate::domain::package_offer::{Catalogue, Offer, Sized};

/// A line of an order.
pub(super) struct Chosen<'a> {
    /// What was chosen.
    pub(super) offer: &'a Offer,
    /// How many times.
    pub(super) multiple: i64,
    /// What was agreed of its price.
    pub(super) percent: i32,
    /// What it comes to.
    pub(super) sized: Sized,
}

/// Finds an annual package by the code in a field.
pub(super) fn annual_offer<'a>(
    catalogue: &'a Catalogue,
    field: &str,
    code: &str,
) -> Result<&'a Offer, Fault> {
    let right = || Fault::field(field, format!("must be one of {}", catalogue.codes(PackageKind::Annual)));
    catalogue.find(PackageKind::Annual, code).ok_or_else(right)
}

/// Finds what an order names, the annual package first.
pub(super) fn choose<'a>(
    catalogue: &'a Catalogue,
    annual: Option<&str>,
    traffic: &[Traffic],
) -> Result<Vec<Chosen<'a>>, Fault> {
    let mut chosen = Vec::new();
    if let Some(code) = annual {
        let offer = annual_offer(catalogue, "annual_offer", code)?;
        let sized = offer.times(1, FULL_PERCENT).map_err(|_| overflow())?;
        chosen.push(Chosen { offer, multiple: 1, percent: FULL_PERCENT, sized });
    }
    for (index, Traffic { offer, multiple, percent }) in traffic.iter().enumerate() {
        let right = || {
            let codes = catalogue.codes(PackageKind::Traffic);
            Fault::field(format!("traffic[{index}].offer"), format!("must be one of {codes}"))
        };
        let offer = catalogue.find(PackageKind::Traffic, offer).ok_or_else(right)?;
        let sized = offer
            .times(*multiple, *percent)
            .map_err(|_| Fault::field(format!("traffic[{index}].multiple"), "is more than can be counted"))?;
        chosen.push(Chosen { offer, multiple: *multiple, percent: *percent, sized });
    }
    Ok(chosen)
}

/// What of an order vouchers never pay for.
pub(super) fn restricted(chosen: &[Chosen<'_>]) -> Result<i64, Fault> {
    let restricted = chosen.iter().filter(|line| line.offer.is_restricted());
    let sum = restricted.map(|line| line.sized.price.minor).try_fold(0_i64, i64::checked_add);
    sum.ok_or_else(overflow)
}

/// Whom new packages are for, and from when on.
pub(super) struct Fresh<'a> {
    /// Who buys.
    pub(super) payer: &'a BillingAccount,
    /// Whom for.
    pub(super) workspaces: &'a [WorkspaceId],
    /// The first day.
    pub(super) first_day: UsageDay,
    /// Now.
    pub(super) now: Timestamp,
}

impl Fresh<'_> {
    /// The package that a line of an order comes to.
    pub(super) fn package(&self, order: &PackageOrderId, line: Chosen<'_>) -> Package {
        let last_day = rules::last_day(self.first_day);
        Package {
            billing_account: self.payer.id.clone(),
            id: fresh(),
            order: order.clone(),
            kind: line.offer.kind,
            offer: line.offer.code.clone(),
            multiple: line.multiple,
            percent: line.percent,
            price: line.sized.price,
            charged: line.sized.price,
            first_day: self.first_day,
            last_day,
            term_end: last_day,
            bought_at: self.now,
            replaced_by: None,
            workspaces: self.workspaces.to_vec(),
            items: line.sized.items,
        }
    }
}

/// An amount that does not fit.
pub(super) fn overflow() -> Fault {
    StoreError::Corrupt { table: "package", column: "price" }.into()
}
