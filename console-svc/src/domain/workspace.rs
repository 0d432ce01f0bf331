//! A workspace: plan, standing, settlement and when charging starts (`domain.md` 2.3, 5.1, 5.2, D9).

use jiff::Timestamp;
use jiff::tz::TimeZone;

use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};

use super::retention::Retention;
use super::usage_day::{UsageDay, hour_after, hour_of};

/// Defines an enum whose numbers are those of schema and tables.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $name {
            /// Its number in schema and tables.
            pub fn number(self) -> i32 {
                match self { $($name::$variant => $number),+ }
            }

            /// The value of a number.
            pub fn from_number(number: i32) -> Option<$name> {
                match number { $($number => Some($name::$variant),)+ _ => None }
            }

            /// The value of a name.
            pub fn from_name(name: &str) -> Option<$name> {
                match name { $($text => Some($name::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use numbered;

numbered! {
    /// What a workspace pays for.
    Plan {
        /// Limited by quotas, never charged.
        Free = 1, "FREE";
        /// Charged by use.
        Commercial = 2, "COMMERCIAL";
    }
}

numbered! {
    /// Whether a workspace may be used; Billing decides.
    Standing {
        /// In use.
        Active = 1, "ACTIVE";
        /// In use, with a deadline after which it is locked.
        LockCountdown = 2, "LOCK_COUNTDOWN";
        /// Takes no data.
        Locked = 3, "LOCKED";
        /// Deleted for good.
        Dissolved = 4, "DISSOLVED";
    }
}

numbered! {
    /// Who is charged for a workspace.
    SettlementMethod {
        /// The Billing Center's own balance.
        BillingCenter = 1, "BILLING_CENTER";
        /// A cloud account on Alibaba Cloud.
        AlibabaCloud = 2, "ALIBABA_CLOUD";
        /// A cloud account on AWS.
        Aws = 3, "AWS";
        /// A cloud account on Huawei Cloud.
        HuaweiCloud = 4, "HUAWEI_CLOUD";
        /// A cloud account on Azure.
        Azure = 5, "AZURE";
    }
}

numbered! {
    /// The language of a workspace's pages and mails; never changes.
    Language {
        /// Chinese.
        Zh = 1, "ZH";
        /// English.
        En = 2, "EN";
    }
}

/// The basic working unit: unit of metering and of plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// 1–64 characters.
    pub name: String,
    /// The site's code; fixed.
    pub site: String,
    /// Fixed.
    pub language: Language,
    /// What it pays for; never goes back to Free.
    pub plan: Plan,
    /// Its one owner.
    pub owner: ConsoleAccountId,
    /// How long each item's data is kept.
    pub retention: Retention,
    /// First hour whose usage is charged; none on Free.
    pub charge_start_at: Option<Timestamp>,
    /// Grows with each change that Billing has to know of.
    pub profile_revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What Billing last said of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingCopy {
    /// Whether it may be used.
    pub standing: Standing,
    /// When it will be locked; only in `LOCK_COUNTDOWN`.
    pub lock_at: Option<Timestamp>,
    /// Who is charged; none on Free.
    pub settlement_method: Option<SettlementMethod>,
    /// The billing account that pays, `bac_…`; none on Free.
    pub billing_account_id: Option<String>,
}

impl StandingCopy {
    /// What holds for a workspace that Billing does not know.
    pub const UNBOUND: StandingCopy = StandingCopy {
        standing: Standing::Active,
        lock_at: None,
        settlement_method: None,
        billing_account_id: None,
    };
}

/// The first hour that is charged for a workspace that was Commercial from its making: the first of the day it was made
/// on. No earlier usage is taken, so that nothing is acknowledged and then not charged.
pub fn charge_start_of_new(made_at: Timestamp, zone: &TimeZone) -> Timestamp {
    UsageDay::of(made_at, zone).start(zone).unwrap_or_else(|_| hour_of(made_at, zone))
}

/// The first hour that is charged after an upgrade: the one after it (D9).
pub fn charge_start_of_upgrade(upgraded_at: Timestamp, zone: &TimeZone) -> Timestamp {
    hour_after(upgraded_at, zone)
}
