//! Every reason an error may carry: its name, its gRPC code, its meaning and whether a retry may help.
//!
//! The name is what `google.rpc.ErrorInfo.reason` holds; callers may branch on it, so names are never changed.

/// The gRPC status codes that errors of ours use, without a dependency on a gRPC library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Bad input.
    InvalidArgument,
    /// Missing, or another tenant's.
    NotFound,
    /// Taken by another, or a request id that was used with another body.
    AlreadyExists,
    /// The state does not allow it.
    FailedPrecondition,
    /// A conflict with a twin; the same call may succeed now.
    Aborted,
    /// Too much at once.
    ResourceExhausted,
    /// Something this call depends on is down.
    Unavailable,
    /// No proof of who calls.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// A fault of ours.
    Internal,
}

/// When a failed call may succeed if it is repeated with the same `request_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not without changing something first.
    Never,
    /// After this many seconds or more.
    AfterSecs(u32),
}

macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:literal, $code:ident, $retry:expr;)+) => {
        /// Why a call failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of this list.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),+];

            /// The name sent as `ErrorInfo.reason`.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name),+ }
            }

            /// The gRPC status code it is sent with.
            pub fn code(self) -> Code {
                match self { $(Reason::$variant => Code::$code),+ }
            }

            /// Whether repeating the call may help.
            pub fn retry(self) -> Retry {
                match self { $(Reason::$variant => $retry),+ }
            }

            /// What it means: the fixed text sent to callers.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($meaning),+).trim_ascii()),+ }
            }
        }
    };
}

use Retry::{AfterSecs, Never};

reasons! {
    /// A field is missing or malformed; the details name it.
    InvalidField = "INVALID_FIELD", InvalidArgument, Never;
    /// This request_id was already used with another request body.
    RequestIdReused = "REQUEST_ID_REUSED", AlreadyExists, Never;
    /// A twin of this request is running or a concurrent change won; repeat it.
    Conflict = "CONFLICT", Aborted, AfterSecs(1);
    /// The service is at its limit; repeat later.
    Overloaded = "OVERLOADED", ResourceExhausted, AfterSecs(1);
    /// The database cannot be used at the moment; repeat later.
    StorageUnavailable = "STORAGE_UNAVAILABLE", Unavailable, AfterSecs(2);
    /// A service this call depends on did not answer; repeat later.
    PeerUnavailable = "PEER_UNAVAILABLE", Unavailable, AfterSecs(2);
    /// An unexpected fault of the service; it was logged under the request's id.
    Internal = "INTERNAL", Internal, Never;
    /// The authorization token is missing, malformed, expired, not for this service, or signed by an unknown key.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated, Never;
    /// The caller's role may not call this method.
    RoleNotAllowed = "ROLE_NOT_ALLOWED", PermissionDenied, Never;
    /// The requested object does not exist.
    ObjectNotFound = "OBJECT_NOT_FOUND", NotFound, Never;
    /// The method exists but not in this process's mode.
    ClockNotMovable = "CLOCK_NOT_MOVABLE", FailedPrecondition, Never;

    /// There is no such site.
    SiteNotFound = "SITE_NOT_FOUND", NotFound, Never;
    /// The email address is already registered on this site.
    EmailTaken = "EMAIL_TAKEN", AlreadyExists, Never;
    /// The username is already taken in this billing region.
    UsernameTaken = "USERNAME_TAKEN", AlreadyExists, Never;
    /// The phone number is already used by another account.
    PhoneTaken = "PHONE_TAKEN", AlreadyExists, Never;
    /// The verification code is wrong, used up or expired; ask for a new one.
    CodeInvalid = "CODE_INVALID", FailedPrecondition, Never;
    /// A code was sent to this address a moment ago; wait before asking for another.
    CodeTooSoon = "CODE_TOO_SOON", ResourceExhausted, AfterSecs(60);
    /// The user agreements have to be accepted.
    AgreementMissing = "AGREEMENT_MISSING", FailedPrecondition, Never;
    /// The login name or the password is wrong.
    SignInFailed = "SIGN_IN_FAILED", Unauthenticated, Never;
    /// Too many failed tries; wait before trying again.
    TooManyTries = "TOO_MANY_TRIES", ResourceExhausted, AfterSecs(3600);
    /// Only the workspace's owner may do this.
    NotOwner = "NOT_OWNER", PermissionDenied, Never;
    /// Only the workspace's owner or an administrator may do this.
    NotAdministrator = "NOT_ADMINISTRATOR", PermissionDenied, Never;
    /// The workspace is Commercial already; plans are never downgraded.
    AlreadyCommercial = "ALREADY_COMMERCIAL", FailedPrecondition, Never;
    /// The account is a member of this workspace already.
    AlreadyMember = "ALREADY_MEMBER", AlreadyExists, Never;
    /// The workspace's only owner cannot be removed or lowered; hand ownership over first.
    OwnerRequired = "OWNER_REQUIRED", FailedPrecondition, Never;
    /// The retention of a Free workspace is fixed at 7 days.
    RetentionFixed = "RETENTION_FIXED", FailedPrecondition, Never;
    /// The workspace is locked: it takes no new data.
    WorkspaceLocked = "WORKSPACE_LOCKED", FailedPrecondition, Never;
    /// The workspace was dissolved.
    WorkspaceDissolved = "WORKSPACE_DISSOLVED", FailedPrecondition, Never;
    /// The workspace is neither locked nor about to be.
    WorkspaceNotLocked = "WORKSPACE_NOT_LOCKED", FailedPrecondition, Never;
    /// Something is still owed; settle it first.
    DebtOpen = "DEBT_OPEN", FailedPrecondition, Never;
    /// The link is not valid, or not any more; ask for a new one.
    LinkInvalid = "LINK_INVALID", PermissionDenied, Never;
    /// The Free quota of this item is used up for today; it starts anew at midnight.
    QuotaExhausted = "QUOTA_EXHAUSTED", ResourceExhausted, Never;
    /// The usage hour lies in the future, before the workspace was charged, or too many days back.
    HourOutOfRange = "HOUR_OUT_OF_RANGE", FailedPrecondition, Never;

    /// The workspace is bound to another billing account.
    WorkspaceAlreadyBound = "WORKSPACE_ALREADY_BOUND", FailedPrecondition, Never;
    /// The workspace is not bound to this billing account.
    WorkspaceNotBound = "WORKSPACE_NOT_BOUND", NotFound, Never;
    /// The workspace's site belongs to another billing region than the account.
    RegionMismatch = "REGION_MISMATCH", FailedPrecondition, Never;
    /// The settlement method was changed this calendar month already; it can be changed again from next month on.
    MethodChangedThisMonth = "METHOD_CHANGED_THIS_MONTH", FailedPrecondition, Never;
    /// The workspace's site does not allow this settlement method; an operator can allow any for the account.
    MethodNotAllowedHere = "METHOD_NOT_ALLOWED_HERE", FailedPrecondition, Never;
    /// The workspace settles through a live cloud subscription; cancel it in the market first.
    CloudSubscriptionLive = "CLOUD_SUBSCRIPTION_LIVE", FailedPrecondition, Never;
    /// The workspace has this settlement method already.
    MethodUnchanged = "METHOD_UNCHANGED", FailedPrecondition, Never;
    /// No change of the settlement method is waiting for a purchase, or it has expired; request it again.
    ChangeNotRequested = "CHANGE_NOT_REQUESTED", FailedPrecondition, Never;
    /// The workspace has bills that are not paid; pay them first.
    BillsUnpaid = "BILLS_UNPAID", FailedPrecondition, Never;
    /// A usage day of the workspace that is over has not been billed yet; try again when its bill is made.
    UsageNotBilled = "USAGE_NOT_BILLED", FailedPrecondition, AfterSecs(600);
    /// A part of today's usage is on a bill already; try again tomorrow.
    DayBilledAlready = "DAY_BILLED_ALREADY", FailedPrecondition, Never;
    /// The billing account owes something; it has to be settled first.
    AccountInArrears = "ACCOUNT_IN_ARREARS", FailedPrecondition, Never;
    /// Text messages cannot be sent from here; prove it by mail.
    SmsNotConfigured = "SMS_NOT_CONFIGURED", FailedPrecondition, Never;

    /// The account ID and the instance ID name no purchase together; check both in the cloud's console.
    PurchaseNotFound = "PURCHASE_NOT_FOUND", FailedPrecondition, Never;
    /// The account ID looks like a sub-user's; type the main account's ID.
    MainAccountRequired = "MAIN_ACCOUNT_REQUIRED", InvalidArgument, Never;
    /// The instance belongs to another product.
    PurchaseWrongProduct = "PURCHASE_WRONG_PRODUCT", FailedPrecondition, Never;
    /// The purchase is frozen: settle it with the cloud, then try again.
    PurchaseSuspended = "PURCHASE_SUSPENDED", FailedPrecondition, Never;
    /// The purchase has ended; buy again and use the new instance ID.
    PurchaseEnded = "PURCHASE_ENDED", FailedPrecondition, Never;
    /// The cloud is still preparing the purchase; try again in a moment.
    PurchasePending = "PURCHASE_PENDING", FailedPrecondition, AfterSecs(30);
    /// The purchase or its cloud account belongs to another billing account.
    PurchaseOwnedByOther = "PURCHASE_OWNED_BY_OTHER", FailedPrecondition, Never;
    /// The cloud could not be asked; nothing was decided, try again later.
    VendorUnavailable = "VENDOR_UNAVAILABLE", Unavailable, AfterSecs(30);
    /// This cloud is not configured here.
    VendorNotConfigured = "VENDOR_NOT_CONFIGURED", FailedPrecondition, Never;
    /// The landing ticket is unknown, used or expired; come again from the cloud's market.
    TicketInvalid = "TICKET_INVALID", FailedPrecondition, Never;
    /// The event contradicts what is already recorded for this instance.
    EventContradicts = "EVENT_CONTRADICTS", FailedPrecondition, Never;
    /// The subscription has ended; ended subscriptions never come back.
    SubscriptionEnded = "SUBSCRIPTION_ENDED", FailedPrecondition, Never;
    /// The record is in a final state or not in one this act applies to.
    RecordNotResolvable = "RECORD_NOT_RESOLVABLE", FailedPrecondition, Never;

    /// Amounts in two currencies cannot be combined; use the account's currency.
    CurrencyMismatch = "CURRENCY_MISMATCH", FailedPrecondition, Never;
    /// The recharge is not waiting for payment.
    RechargeNotOpen = "RECHARGE_NOT_OPEN", FailedPrecondition, Never;
    /// This external payment reference was booked already.
    ExternalRefUsed = "EXTERNAL_REF_USED", AlreadyExists, Never;
    /// No payment provider serves this channel here; choose another one.
    PaymentChannelNotConfigured = "PAYMENT_CHANNEL_NOT_CONFIGURED", FailedPrecondition, Never;
    /// The payment provider does not open such an order; the details hold its code.
    PaymentRefused = "PAYMENT_REFUSED", FailedPrecondition, Never;
    /// The payment provider did not answer clearly; repeat with the same request_id.
    PaymentProviderUnavailable = "PAYMENT_PROVIDER_UNAVAILABLE", Unavailable, AfterSecs(5);
    /// The payment does not wait for a decision.
    PaymentNotResolvable = "PAYMENT_NOT_RESOLVABLE", FailedPrecondition, Never;
    /// The balance does not suffice; recharge the account first.
    BalanceInsufficient = "BALANCE_INSUFFICIENT", FailedPrecondition, Never;
    /// There is no voucher code like this; check it for slips.
    VoucherCodeUnknown = "VOUCHER_CODE_UNKNOWN", FailedPrecondition, Never;
    /// The voucher code was activated already; a code works once.
    VoucherCodeUsed = "VOUCHER_CODE_USED", FailedPrecondition, Never;
    /// The voucher code's last day is over.
    VoucherCodeExpired = "VOUCHER_CODE_EXPIRED", FailedPrecondition, Never;
    /// A package runs for the workspace: until it ends, the Billing Center of its account has to settle it.
    PackageRunning = "PACKAGE_RUNNING", FailedPrecondition, Never;
    /// The workspace settles through a cloud; packages are only for workspaces that the Billing Center settles.
    PackageNeedsBillingCenter = "PACKAGE_NEEDS_BILLING_CENTER", FailedPrecondition, Never;
    /// Traffic packages come on top of an annual package, and the workspace has none on that day.
    AnnualPackageMissing = "ANNUAL_PACKAGE_MISSING", FailedPrecondition, Never;
    /// The package has ended, or a larger one took its place.
    PackageEnded = "PACKAGE_ENDED", FailedPrecondition, Never;
    /// A package can only be upgraded to a larger annual package.
    PackageNotLarger = "PACKAGE_NOT_LARGER", FailedPrecondition, Never;
    /// No price list has a price for an item in use; the details name it.
    PriceMissing = "PRICE_MISSING", FailedPrecondition, Never;
    /// A price list of this version exists already; published lists never change, choose another version.
    PriceListExists = "PRICE_LIST_EXISTS", AlreadyExists, Never;
    /// The effective day or a later one has bills already; choose a later day.
    PriceDayBilled = "PRICE_DAY_BILLED", FailedPrecondition, Never;
    /// Something in the account's currency is still open; the details name it.
    CurrencyInUse = "CURRENCY_IN_USE", FailedPrecondition, Never;
    /// The request was decided or withdrawn already, or has expired; ask anew.
    ApprovalNotOpen = "APPROVAL_NOT_OPEN", FailedPrecondition, Never;
    /// Who asked for an act cannot decide it; a second operator has to.
    ApproverIsRequester = "APPROVER_IS_REQUESTER", PermissionDenied, Never;
    /// Only who asked for an act can take the request back; others reject it.
    NotRequester = "NOT_REQUESTER", PermissionDenied, Never;
    /// Nothing here is locked, or about to be, for the account's arrears.
    NothingToUnlock = "NOTHING_TO_UNLOCK", FailedPrecondition, Never;
    /// The usage day has not ended yet in the site's time zone.
    DayNotOver = "DAY_NOT_OVER", FailedPrecondition, Never;

    /// The company's verification is not in a state this act applies to; the details name the state.
    VerificationNotOpen = "VERIFICATION_NOT_OPEN", FailedPrecondition, Never;
    /// The company has to be verified first.
    CompanyNotVerified = "COMPANY_NOT_VERIFIED", FailedPrecondition, Never;
    /// The cash balance has to be above zero to ask for an invoice.
    CashRequired = "CASH_REQUIRED", FailedPrecondition, Never;
    /// The month's bill is not generated yet; it is from the 4th of the following month on.
    MonthNotGenerated = "MONTH_NOT_GENERATED", FailedPrecondition, Never;
    /// Nothing of this is open to be invoiced: it was not paid in cash, or it stands on an invoice already.
    NothingToInvoice = "NOTHING_TO_INVOICE", FailedPrecondition, Never;
    /// The invoice is not in a state this act applies to; the details name the state.
    InvoiceNotOpen = "INVOICE_NOT_OPEN", FailedPrecondition, Never;
    /// This invoice number belongs to another invoice.
    InvoiceNumberUsed = "INVOICE_NUMBER_USED", AlreadyExists, Never;
    /// The account has as many of these as it may have; delete one first.
    LimitReached = "LIMIT_REACHED", FailedPrecondition, Never;
    /// A month is billed from the 4th of the following month on, in the account's time zone.
    MonthNotOver = "MONTH_NOT_OVER", FailedPrecondition, Never;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_meanings_are_sentences() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.meaning().ends_with('.'), "{} is no sentence", reason.name());
        }
    }
}
