//! Messages of `tandem.common.v1` to value types and back.
//!
//! Enums: `from_message` of a number that is unspecified or unknown is `None`; the caller names the field.

use crate::common::v1 as pb;
use crate::item::BillingItem;
use crate::language::Language;
use crate::money::{Currency, LineAmount, Money};
use crate::payment::PaymentChannel;
use crate::settlement::{BillingRegion, Market, PriceZone, SettlementMethod, WorkspaceStanding};
use crate::vendor::Vendor;

macro_rules! enums {
    ($($type:ident { $($variant:ident),+ $(,)? })+) => {$(
        impl $type {
            /// The message's enum value.
            pub fn to_message(self) -> pb::$type {
                match self { $($type::$variant => pb::$type::$variant),+ }
            }

            /// Reads a message's enum number.
            pub fn from_message(number: i32) -> Option<$type> {
                match pb::$type::try_from(number) {
                    $(Ok(pb::$type::$variant) => Some($type::$variant),)+
                    Ok(pb::$type::Unspecified) | Err(_) => None,
                }
            }
        }
    )+};
}

enums! {
    Vendor { Alibaba, Aws, Huawei, Azure }
    PaymentChannel { Alipay }
    BillingRegion { Domestic, International }
    PriceZone { Cn, Intl }
    Market { China, International }
    Language { Zh, En }
    WorkspaceStanding { Active, LockCountdown, Locked, Dissolved }
    BillingItem {
        TimeSeries, LogCount, LogIngest, DataForwardExternal, DataForwardInternal, NetworkHost, ApmTrace,
        ApmProfile, RumPv, SessionReplay, SyntheticTest, Trigger, Sms, Report, SensitiveScan, Pipeline, Collector,
    }
}

impl SettlementMethod {
    /// The message's enum value.
    pub fn to_message(self) -> pb::SettlementMethod {
        match self {
            SettlementMethod::BillingCenter => pb::SettlementMethod::BillingCenter,
            SettlementMethod::Cloud(Vendor::Alibaba) => pb::SettlementMethod::AlibabaCloud,
            SettlementMethod::Cloud(Vendor::Aws) => pb::SettlementMethod::Aws,
            SettlementMethod::Cloud(Vendor::Huawei) => pb::SettlementMethod::HuaweiCloud,
            SettlementMethod::Cloud(Vendor::Azure) => pb::SettlementMethod::Azure,
        }
    }

    /// Reads a message's enum number.
    pub fn from_message(number: i32) -> Option<SettlementMethod> {
        match pb::SettlementMethod::try_from(number) {
            Ok(pb::SettlementMethod::BillingCenter) => Some(SettlementMethod::BillingCenter),
            Ok(pb::SettlementMethod::AlibabaCloud) => Some(SettlementMethod::Cloud(Vendor::Alibaba)),
            Ok(pb::SettlementMethod::Aws) => Some(SettlementMethod::Cloud(Vendor::Aws)),
            Ok(pb::SettlementMethod::HuaweiCloud) => Some(SettlementMethod::Cloud(Vendor::Huawei)),
            Ok(pb::SettlementMethod::Azure) => Some(SettlementMethod::Cloud(Vendor::Azure)),
            Ok(pb::SettlementMethod::Unspecified) | Err(_) => None,
        }
    }
}

impl Money {
    /// The message.
    pub fn to_message(self) -> pb::Money {
        pb::Money { currency_code: self.currency.code().to_owned(), minor_units: self.minor }
    }

    /// Reads a message; `None` when its currency is none of ours.
    pub fn from_message(message: &pb::Money) -> Option<Money> {
        let currency: Currency = message.currency_code.parse().ok()?;
        Some(Money { minor: message.minor_units, currency })
    }
}

impl LineAmount {
    /// The message.
    pub fn to_message(self) -> pb::LineAmount {
        pb::LineAmount { currency_code: self.currency.code().to_owned(), micros: self.micros }
    }

    /// Reads a message; `None` when its currency is none of ours.
    pub fn from_message(message: &pb::LineAmount) -> Option<LineAmount> {
        let currency: Currency = message.currency_code.parse().ok()?;
        Some(LineAmount { micros: message.micros, currency })
    }
}
