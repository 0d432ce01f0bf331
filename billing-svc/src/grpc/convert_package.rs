//! Packages as messages.

use tandem_proto::billing::v1 as pb;
use tandem_proto::day::UsageDay;
use tandem_proto::money::Money;
use tandem_service_kit::validate::to_message;

use crate::domain::deduction::Instrument;
use crate::domain::package::{Package, PackageItem, PackageKind, PackageState};
use crate::domain::package_offer::Offer;
use crate::ops::package_acts::Ordered;
use crate::ops::package_usage::{DayUsage, PackageUsage};
use crate::ops::prove_packages::Difference;

fn kind(kind: PackageKind) -> i32 {
    match kind {
        PackageKind::Annual => pb::PackageKind::Annual,
        PackageKind::Traffic => pb::PackageKind::Traffic,
    }
    .into()
}

fn item(content: &PackageItem) -> pb::PackageItem {
    let factor = |(retention_days, factor): &(i32, i64)| pb::RetentionFactor {
        retention_days: *retention_days,
        factor: *factor,
    };
    pb::PackageItem {
        item: content.item.to_message().into(),
        quota_hundredths: content.quota.hundredths,
        unit_size: content.price.unit_size,
        unit_price: Some(content.price.unit_price.to_message()),
        factors: content.factors.all().iter().map(factor).collect(),
    }
}

pub(super) fn offer(offer: &Offer) -> pb::PackageOffer {
    pb::PackageOffer {
        code: offer.code.clone(),
        kind: kind(offer.kind),
        price: Some(offer.price.to_message()),
        items: offer.items.iter().map(item).collect(),
    }
}

/// A package as it stands on a day.
pub(super) fn package(p: &Package, today: UsageDay) -> pb::Package {
    pb::Package {
        id: p.id.as_str().to_owned(),
        order_id: p.order.as_str().to_owned(),
        kind: kind(p.kind),
        offer: p.offer.clone(),
        multiple: p.multiple,
        price_percent: p.percent,
        price: Some(p.price.to_message()),
        charged: Some(p.charged.to_message()),
        first_day: p.first_day.to_string(),
        last_day: p.last_day.to_string(),
        order_time: Some(to_message(p.bought_at)),
        state: match p.state(today) {
            PackageState::Waiting => pb::PackageState::Waiting,
            PackageState::Running => pb::PackageState::Running,
            PackageState::Ended => pb::PackageState::Ended,
            PackageState::Upgraded => pb::PackageState::Upgraded,
        }
        .into(),
        replaced_by_id: p.replaced_by.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        workspace_ids: p.workspaces.iter().map(|id| id.as_str().to_owned()).collect(),
        items: p.items.iter().map(item).collect(),
    }
}

/// What paid an order.
pub(super) fn paid_by(ordered: &Ordered) -> Vec<pb::Payment> {
    let payment = |part: &crate::domain::wallet::Part| pb::Payment {
        instrument: match Instrument::from(part.kind) {
            Instrument::GeneralVoucher => pb::PaymentInstrument::GeneralVoucher,
            Instrument::DiscountVoucher => pb::PaymentInstrument::DiscountVoucher,
            Instrument::PrepaidCard => pb::PaymentInstrument::PrepaidCard,
            Instrument::Cash => pb::PaymentInstrument::Cash,
            Instrument::Cloud => pb::PaymentInstrument::Cloud,
        }
        .into(),
        amount: Some(Money { minor: part.amount, ..ordered.charged }.to_message()),
        pay_time: Some(to_message(ordered.at)),
        lot_id: part.lot.clone(),
    };
    ordered.parts.iter().map(payment).collect()
}

pub(super) fn day_usage(usage: &DayUsage) -> pb::GetPackageUsageResponse {
    pb::GetPackageUsageResponse {
        packages: usage.packages.iter().map(package_day).collect(),
        annual_day_price: Some(usage.annual_day_price.to_message()),
        traffic_day_price: Some(usage.traffic_day_price.to_message()),
        excess: Some(usage.excess.to_message()),
        beyond_annual: Some(usage.beyond_annual.to_message()),
    }
}

fn package_day(usage: &PackageUsage) -> pb::PackageDay {
    let items = usage.items.iter().map(|item| pb::PackageItemDay {
        item: item.item.to_message().into(),
        quota_hundredths: item.quota.hundredths,
        drawn_hundredths: item.drawn.hundredths,
        workspaces: item
            .workspaces
            .iter()
            .map(|(workspace, drawn)| pb::WorkspaceDraw {
                workspace_id: workspace.as_str().to_owned(),
                drawn_hundredths: drawn.hundredths,
            })
            .collect(),
    });
    pb::PackageDay {
        package_id: usage.package.id.as_str().to_owned(),
        kind: kind(usage.package.kind),
        offer: usage.package.offer.clone(),
        day_price: Some(usage.package.day_price().to_message()),
        items: items.collect(),
    }
}

pub(super) fn difference(d: Difference) -> pb::PackageDifference {
    pb::PackageDifference {
        billing_account_id: d.account.into(),
        usage_day: d.day.to_string(),
        what: d.what,
        stored: d.stored,
        recomputed: d.recomputed,
    }
}
