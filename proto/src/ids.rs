//! Identifiers: a prefix that names the kind, then 32 hexadecimal digits of a UUIDv7. Parsed or refused, never guessed.
//!
//! Nothing here makes randomness: an id is built from a UUID that the caller brings.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `{prefix}` followed by 32 lower-case hexadecimal digits")]
pub struct IdError {
    /// The prefix that was expected, with its underscore.
    pub prefix: &'static str,
}

/// An identifier that can be made from a UUID.
pub trait Id: Sized {
    /// The kind's prefix, with its underscore.
    const PREFIX: &'static str;
    /// Makes the identifier from a UUID.
    fn from_uuid(uuid: Uuid) -> Self;
}

fn check(prefix: &'static str, text: &str) -> Result<(), IdError> {
    let digits = text.strip_prefix(prefix).ok_or(IdError { prefix })?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() == 32 && digits.bytes().all(hex) { Ok(()) } else { Err(IdError { prefix }) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_uuid(uuid: Uuid) -> Self {
                Self(format!(concat!($prefix, "{}"), uuid.simple()))
            }
        }

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check($prefix, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    )+};
}

ids! {
    /// A Console account.
    ConsoleAccountId = "cac_";
    /// A workspace; shown to users, because binding in the Billing Center is done by it.
    WorkspaceId = "wks_";
    /// A Billing Center account.
    BillingAccountId = "bac_";
    /// A cloud account as stored after a subscription.
    CloudAccountId = "cla_";
    /// A purchased instance of the product in a cloud's market.
    SubscriptionId = "sub_";
    /// A marketplace event in the inbox.
    MarketplaceEventId = "mev_";
    /// A daily bill.
    BillId = "bil_";
    /// A record of usage to be submitted to a cloud.
    MeteringRecordId = "mtr_";
    /// A recharge of the cash balance.
    RechargeId = "rch_";
    /// A payment that a payment provider announced.
    PaymentId = "pay_";
    /// A voucher in an account's wallet.
    VoucherId = "vch_";
    /// A code that becomes a voucher once.
    VoucherCodeId = "vcc_";
    /// A prepaid card.
    PrepaidCardId = "crd_";
    /// A threshold of what a workspace may cost before somebody is told.
    SpendAlertId = "alr_";
    /// An annual or traffic package.
    PackageId = "pkg_";
    /// An order of packages.
    PackageOrderId = "por_";
    /// How a company wants its invoices.
    InvoiceProfileId = "ivp_";
    /// Where invoices are sent.
    DeliveryAddressId = "ida_";
    /// An invoice, from the request on.
    InvoiceId = "inv_";
    /// An event of the feed.
    EventId = "evt_";
    /// A message in an outbox.
    OutboxId = "obx_";
    /// A request for an act that takes two people.
    ApprovalId = "apr_";
    /// A landing ticket: a buyer who arrived from a market, and what for.
    LandingTicketId = "lnd_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_a_wrong_kind_is_refused() {
        let id = WorkspaceId::from_uuid(Uuid::from_u128(7));
        assert_eq!(id.as_str().parse::<WorkspaceId>(), Ok(id.clone()));
        assert_eq!(id.as_str().parse::<BillId>(), Err(IdError { prefix: "bil_" }));
        for bad in ["", "wks_", "wks_12", &id.as_str().to_uppercase(), &format!("{id}0")] {
            assert!(bad.parse::<WorkspaceId>().is_err(), "accepted {bad:?}");
        }
    }
}
