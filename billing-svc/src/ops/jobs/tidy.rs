//! Deletes what is no longer needed, a bounded number at a time.

use tandem_service_kit::fault::Fault;
use tandem_service_kit::{outbox, request_log, verification};

use crate::context::Context;

/// Answers that are never deleted: they moved money or made somebody pay (`reliability.md` section 2).
const KEPT: [&str; 23] = [
    "/tandem.billing.v1.AccountService/SetCurrency",
    "/tandem.billing.v1.ApprovalService/Approve",
    "/tandem.billing.v1.ApprovalService/RequestApproval",
    "/tandem.billing.v1.BindingService/BindWorkspace",
    "/tandem.billing.v1.BindingService/ChangeSettlementMethod",
    "/tandem.billing.v1.BindingService/CompleteSettlementChange",
    "/tandem.billing.v1.BindingService/MoveWorkspace",
    "/tandem.billing.v1.InvoiceService/IssueInvoice",
    "/tandem.billing.v1.InvoiceService/RejectInvoice",
    "/tandem.billing.v1.InvoiceService/RequestInvoice",
    "/tandem.billing.v1.InvoiceService/SendInvoice",
    "/tandem.billing.v1.PackageService/OrderPackage",
    "/tandem.billing.v1.PackageService/UpgradePackage",
    "/tandem.billing.v1.PaymentService/RecordPayment",
    "/tandem.billing.v1.PaymentService/ResolvePayment",
    "/tandem.billing.v1.PriceService/PublishPriceList",
    "/tandem.billing.v1.PriceService/SetLogMode",
    "/tandem.billing.v1.StandingService/DissolveWorkspace",
    "/tandem.billing.v1.WalletService/ActivateVoucher",
    "/tandem.billing.v1.WalletService/BuyPrepaidCard",
    "/tandem.billing.v1.WalletService/ConfirmRecharge",
    "/tandem.billing.v1.WalletService/CreateRecharge",
    "/tandem.billing.v1.WalletService/GrantVoucher",
];

/// Deletes a bounded number of old answers, delivered messages and codes. Returns how many.
pub(super) async fn step(ctx: &Context) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    let answers = request_log::purge(&ctx.db.write, now, now, &KEPT).await?;
    let messages = outbox::purge(&ctx.db.write, now, now).await?;
    let codes = verification::purge(&ctx.db, now).await?;
    Ok(usize::try_from(answers.saturating_add(messages).saturating_add(codes)).unwrap_or(usize::MAX))
}
