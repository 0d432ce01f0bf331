//! `request_id`: the same request has one effect and one answer; another body under the same id is refused (I-05).

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use prost::Message;
use tandem_proto::access::METHODS;
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::Role;
use tandem_proto::common::v1::{
    BillingItem, BillingRegion, Company, Language, Money, SettlementMethod, Vendor,
};
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::console::v1::commercial_activation::Payer;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::clients::Clients;
use tandem_tests::customer::{PASSWORD, activation, commercial};
use tandem_tests::day::{day, hours, point};
use tandem_tests::engine::Engine;
use tandem_tests::raw::{call_as, served_by};
use tandem_tests::system::{Setup, System, request_id};

use crate::{on_both_engines, request_changes};

on_both_engines! {
    every_changing_method_repeats_its_answer;
}

/// Methods whose repetition is safe by another key that the contract documents, or which belong to a purchase's life
/// that other tests go through.
const ELSEWHERE: [&str; 13] = [
    // Needs a workspace that was locked; see `debt`.
    "/tandem.billing.v1.StandingService/UnlockWorkspace",
    // By the time it names.
    "/tandem.common.v1.ClockService/AdvanceClock",
    // Need something quarantined or unknown; `cloud_life` repeats the last one.
    "/tandem.common.v1.OutboxService/RedriveOutboxMessage",
    "/tandem.billing.v1.MarketplaceService/ReplayMarketplaceEvent",
    "/tandem.billing.v1.MarketplaceService/ResolveMeteringRecord",
    // By each batch's own id and the points' keys.
    "/tandem.console.v1.UsageService/RecordUsageStream",
    // Hands on to the vendor; the gateway keeps nothing.
    "/tandem.marketplace.v1.MarketplaceGatewayService/SubmitUsage",
    "/tandem.marketplace.v1.PaymentGatewayService/CreatePayment",
    // Below, as part of their own flows.
    "/tandem.console.v1.WorkspaceService/UpgradeWorkspace",
    "/tandem.billing.v1.BindingService/ChangeSettlementMethod",
    "/tandem.billing.v1.BindingService/CompleteSettlementChange",
    "/tandem.billing.v1.BindingService/UpdateWorkspaceProfile",
    "/tandem.billing.v1.MarketplaceService/OpenLanding",
];

/// Calls with `first` twice and with `other` once, which differs in its body only.
pub(crate) async fn repeat<M: Message>(
    system: &System,
    seen: &mut Vec<&'static str>,
    path: &'static str,
    first: &M,
    other: &M,
) -> anyhow::Result<Bytes> {
    let method = tandem_proto::access::of(path).context(path)?;
    let role = method.roles.iter().copied().find(|role| *role != Role::Operator).unwrap_or(Role::Operator);
    repeat_through(&*system.as_role(role)?, seen, path, first, other).await
}

/// [`repeat`] in the name of one caller.
async fn repeat_through<M: Message>(
    clients: &Clients,
    seen: &mut Vec<&'static str>,
    path: &'static str,
    first: &M,
    other: &M,
) -> anyhow::Result<Bytes> {
    let channel = || anyhow::Ok(clients.of(served_by(path)[0]));
    let bytes = |message: &M| Bytes::from(message.encode_to_vec());
    let once = call_as(channel()?, path, bytes(first)).await.with_context(|| path.to_owned())?;
    let twice = call_as(channel()?, path, bytes(first)).await.with_context(|| format!("{path}, repeated"))?;
    ensure!(once == twice, "{path} answers a repetition differently");
    let refused = call_as(channel()?, path, bytes(other)).await;
    let refused = refused.err().with_context(|| format!("{path} takes another body under the same id"))?;
    ensure!(reason_of(&refused) == Some(Reason::RequestIdReused), "{path}: {refused:?}");
    let again =
        call_as(channel()?, path, bytes(first)).await.with_context(|| format!("{path}, once more"))?;
    ensure!(once == again, "{path} has forgotten its answer");
    seen.push(path);
    once.context("no answer")
}

/// The same request with another body.
macro_rules! other {
    ($first:expr, |$other:ident| $change:expr) => {{
        let mut $other = $first.clone();
        $change;
        $other
    }};
}
pub(crate) use other;

async fn every_changing_method_repeats_its_answer(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let mut seen = Vec::new();
    console_methods(&system, &mut seen).await?;
    billing_methods(&system, &mut seen).await?;
    let missing: Vec<&str> = METHODS
        .iter()
        .filter(|method| method.changes && !seen.contains(&method.path) && !ELSEWHERE.contains(&method.path))
        .map(|method| method.path)
        .collect();
    ensure!(missing.is_empty(), "nobody has tried {missing:?}");
    system.check_invariants().await
}

async fn console_methods(system: &System, seen: &mut Vec<&'static str>) -> anyhow::Result<()> {
    let send = console::SendVerificationCodeRequest {
        request_id: request_id("send"),
        purpose: console::VerificationPurpose::Register.into(),
        site: "cn1".to_owned(),
        email: "repeats@cn1.example".to_owned(),
        language: Language::En.into(),
    };
    let other = other!(send, |m| m.email = "other@cn1.example".to_owned());
    repeat(system, seen, "/tandem.console.v1.RegistrationService/SendVerificationCode", &send, &other)
        .await?;
    let email_code = system
        .eventually("the code is mailed", async || {
            Ok(system.mails_to("repeats@cn1.example")?.into_iter().find_map(|mail| mail.code()))
        })
        .await?;
    ensure!(system.mails_to("repeats@cn1.example")?.len() == 1, "a repetition mails nothing");
    let register = console::RegisterAccountRequest {
        request_id: request_id("register"),
        site: "cn1".to_owned(),
        username: "repeats".to_owned(),
        password: PASSWORD.to_owned(),
        email: "repeats@cn1.example".to_owned(),
        email_code,
        phone: "+8613800000001".to_owned(),
        company: Some(Company { name: "Repeats Ltd".to_owned(), ..Company::default() }),
        agreements_accepted: true,
    };
    let other = other!(register, |m| m.username = "other".to_owned());
    let answer =
        repeat(system, seen, "/tandem.console.v1.RegistrationService/RegisterAccount", &register, &other)
            .await?;
    let account = console::RegisterAccountResponse::decode(answer)?.account.context("account")?;
    let customer = tandem_tests::customer::Customer {
        id: account.id.clone(),
        site: "cn1".to_owned(),
        email: account.email,
        username: account.username,
    };
    let asked = commercial(Payer::CreateBillingAccount(true), SettlementMethod::BillingCenter, None);
    let activate = activation(&customer, "repeats", Activation::Commercial(asked));
    let other = other!(activate, |m| m.workspace_name = "other".to_owned());
    let answer =
        repeat(system, seen, "/tandem.console.v1.RegistrationService/ActivateWorkspace", &activate, &other)
            .await?;
    let workspace = console::ActivateWorkspaceResponse::decode(answer)?.workspace.context("workspace")?.id;

    let mate = system.register("cn1", "mate").await?;
    let add = console::AddMemberRequest {
        request_id: request_id("add"),
        workspace_id: workspace.clone(),
        acting_account_id: account.id.clone(),
        console_account_id: mate.id.clone(),
        role: console::MemberRole::Standard.into(),
    };
    let other = other!(add, |m| m.role = console::MemberRole::ReadOnly.into());
    repeat(system, seen, "/tandem.console.v1.WorkspaceService/AddMember", &add, &other).await?;
    let set = console::SetMemberRoleRequest {
        request_id: request_id("role"),
        workspace_id: workspace.clone(),
        acting_account_id: account.id.clone(),
        console_account_id: mate.id.clone(),
        role: console::MemberRole::Administrator.into(),
    };
    let other = other!(set, |m| m.role = console::MemberRole::Finance.into());
    repeat(system, seen, "/tandem.console.v1.WorkspaceService/SetMemberRole", &set, &other).await?;
    let remove = console::RemoveMemberRequest {
        request_id: request_id("remove"),
        workspace_id: workspace.clone(),
        acting_account_id: account.id.clone(),
        console_account_id: mate.id,
    };
    let other = other!(remove, |m| m.console_account_id = m.acting_account_id.clone());
    repeat(system, seen, "/tandem.console.v1.WorkspaceService/RemoveMember", &remove, &other).await?;
    let retention = console::SetRetentionRequest {
        request_id: request_id("retention"),
        workspace_id: workspace.clone(),
        acting_account_id: account.id.clone(),
        item: BillingItem::LogCount.into(),
        retention_days: 30,
    };
    let other = other!(retention, |m| m.retention_days = 60);
    repeat(system, seen, "/tandem.console.v1.WorkspaceService/SetRetention", &retention, &other).await?;

    let ended = system.free_workspace(&customer, "ended").await?;
    let dissolve = system.dissolution(&customer, &ended, "ended").await?;
    let other = other!(dissolve, |m| m.confirm_name = "other".to_owned());
    repeat(system, seen, "/tandem.console.v1.WorkspaceService/DissolveWorkspace", &dissolve, &other).await?;

    system.advance(jiff::SignedDuration::from_secs(61)).await?;
    let send = console::SendVerificationCodeRequest {
        request_id: request_id("send"),
        purpose: console::VerificationPurpose::ChangePassword.into(),
        ..send
    };
    let mut client = system.portal()?.registration();
    let email_code = system.code_to(&customer.email, client.send_verification_code(send)).await?;
    let change = console::ChangePasswordRequest {
        request_id: request_id("password"),
        console_account_id: account.id,
        email_code,
        new_password: "Other-Horse-8".to_owned(),
    };
    let other = other!(change, |m| m.new_password = "Third-Horse-9".to_owned());
    repeat(system, seen, "/tandem.console.v1.AccountService/ChangePassword", &change, &other).await?;

    let hour = hours(day("2026-03-01")?, "Asia/Shanghai")?[10];
    let points = vec![point(&workspace, hour, BillingItem::Trigger, 10)];
    let record = console::RecordUsageRequest { request_id: request_id("usage"), points };
    let other = other!(record, |m| m.points[0].quantity = 11);
    repeat(system, seen, "/tandem.console.v1.UsageService/RecordUsage", &record, &other).await?;
    system.advance_to("2026-03-01T16:05:00Z".parse()?).await?;
    let close = console::CloseUsageDayRequest {
        request_id: request_id("close"),
        site: "cn1".to_owned(),
        usage_day: "2026-03-01".to_owned(),
    };
    let other = other!(close, |m| m.usage_day = "2026-02-28".to_owned());
    repeat(system, seen, "/tandem.console.v1.UsageService/CloseUsageDay", &close, &other).await?;
    Ok(())
}

fn cny(minor_units: i64) -> Money {
    Money { currency_code: "CNY".to_owned(), minor_units }
}

/// Vouchers and prepaid cards.
async fn credit(system: &System, seen: &mut Vec<&'static str>, account: &str) -> anyhow::Result<()> {
    let grant = billing::GrantVoucherRequest {
        request_id: request_id("grant"),
        billing_account_id: account.to_owned(),
        face_value: Some(cny(500)),
        min_spend: None,
        valid_from_time: None,
        last_day: "2027-01-31".to_owned(),
        note: "welcome".to_owned(),
    };
    let other = other!(grant, |m| m.face_value = Some(cny(600)));
    repeat(system, seen, "/tandem.billing.v1.WalletService/GrantVoucher", &grant, &other).await?;
    let codes = billing::IssueVoucherCodesRequest {
        request_id: request_id("codes"),
        face_value: Some(cny(700)),
        min_spend: None,
        last_day: "2027-01-31".to_owned(),
        count: 2,
        note: "fair".to_owned(),
    };
    let other = other!(codes, |m| m.count = 3);
    let answer =
        repeat(system, seen, "/tandem.billing.v1.WalletService/IssueVoucherCodes", &codes, &other).await?;
    let codes = billing::IssueVoucherCodesResponse::decode(answer)?.codes;
    let [first, second] = codes.as_slice() else { anyhow::bail!("two codes were asked for") };
    let activate = billing::ActivateVoucherRequest {
        request_id: request_id("activate"),
        billing_account_id: account.to_owned(),
        code: first.clone(),
    };
    let other = other!(activate, |m| m.code = second.clone());
    repeat(system, seen, "/tandem.billing.v1.WalletService/ActivateVoucher", &activate, &other).await?;
    let buy = billing::BuyPrepaidCardRequest {
        request_id: request_id("buy"),
        billing_account_id: account.to_owned(),
        face_value: Some(cny(10_000)),
    };
    let other = other!(buy, |m| m.face_value = Some(cny(20_000)));
    repeat(system, seen, "/tandem.billing.v1.WalletService/BuyPrepaidCard", &buy, &other).await?;
    Ok(())
}

/// Price lists, log modes and currencies.
async fn prices(
    system: &System,
    seen: &mut Vec<&'static str>,
    account: &str,
    workspace: &str,
) -> anyhow::Result<()> {
    let current = billing::GetPriceListRequest::default();
    let list = system.operator()?.prices().get_price_list(current).await?.into_inner().price_list;
    let publish = billing::PublishPriceListRequest {
        request_id: request_id("publish"),
        version: "repeated".to_owned(),
        effective_day: "2026-05-01".to_owned(),
        prices: list.context("price_list")?.prices,
    };
    let other = other!(publish, |m| m.effective_day = "2026-05-02".to_owned());
    repeat(system, seen, "/tandem.billing.v1.PriceService/PublishPriceList", &publish, &other).await?;
    let mode = billing::SetLogModeRequest {
        request_id: request_id("mode"),
        workspace_id: workspace.to_owned(),
        log_mode: billing::LogMode::Ingest.into(),
    };
    let other = other!(mode, |m| m.log_mode = billing::LogMode::Count.into());
    repeat(system, seen, "/tandem.billing.v1.PriceService/SetLogMode", &mode, &other).await?;
    let currency = billing::SetCurrencyRequest {
        request_id: request_id("currency"),
        billing_account_id: account.to_owned(),
        currency_code: "USD".to_owned(),
    };
    let other = other!(currency, |m| m.currency_code = "CNY".to_owned());
    repeat(system, seen, "/tandem.billing.v1.AccountService/SetCurrency", &currency, &other).await?;
    Ok(())
}

/// Annual packages.
async fn packages(
    system: &System,
    seen: &mut Vec<&'static str>,
    account: &str,
    workspace: &str,
) -> anyhow::Result<()> {
    system.recharge(account, "CNY", 50_000_000).await?;
    let order = billing::OrderPackageRequest {
        request_id: request_id("order"),
        billing_account_id: account.to_owned(),
        annual_offer: "start-up".to_owned(),
        traffic: Vec::new(),
        workspace_ids: vec![workspace.to_owned()],
        start_day: String::new(),
    };
    let other = other!(order, |m| m.annual_offer = "growth".to_owned());
    let answer =
        repeat(system, seen, "/tandem.billing.v1.PackageService/OrderPackage", &order, &other).await?;
    ensure!(system.wallet(account).await? == (45_800_000, 0), "a repetition buys nothing");
    let bought = billing::OrderPackageResponse::decode(answer)?.packages;
    let upgrade = billing::UpgradePackageRequest {
        request_id: request_id("upgrade"),
        billing_account_id: account.to_owned(),
        package_id: bought[0].id.clone(),
        offer: "growth".to_owned(),
    };
    let other = other!(upgrade, |m| m.offer = "enterprise".to_owned());
    repeat(system, seen, "/tandem.billing.v1.PackageService/UpgradePackage", &upgrade, &other).await?;
    ensure!(system.wallet(account).await? == (22_000_000, 0), "a repetition upgrades nothing");
    Ok(())
}

/// Acts that take two people: the operator asks and takes back, a second one decides.
async fn approvals(system: &System, seen: &mut Vec<&'static str>, account: &str) -> anyhow::Result<()> {
    let ask = |name: &str| billing::RequestApprovalRequest {
        request_id: request_id(name),
        billing_account_id: account.to_owned(),
        act: Some(billing::request_approval_request::Act::Adjustment(billing::Adjustment {
            direction: billing::AdjustmentDirection::Credit.into(),
            amount: Some(cny(100)),
        })),
        reason: "a slip".to_owned(),
    };
    let mut ids = Vec::new();
    for name in ["ask-1", "ask-2", "ask-3"] {
        let asked = ask(name);
        let other = other!(asked, |m| m.reason = "another".to_owned());
        let path = "/tandem.billing.v1.ApprovalService/RequestApproval";
        let answer = repeat(system, seen, path, &asked, &other).await?;
        ids.push(billing::RequestApprovalResponse::decode(answer)?.approval.context("approval")?.id);
    }
    let [first, second, third] = ids.as_slice() else { anyhow::bail!("three were asked for") };
    let second_person = system.approver()?;
    let approve = billing::ApproveRequest {
        request_id: request_id("approve"),
        approval_id: first.clone(),
        note: String::new(),
    };
    let other = other!(approve, |m| m.approval_id = second.clone());
    let path = "/tandem.billing.v1.ApprovalService/Approve";
    repeat_through(&second_person, seen, path, &approve, &other).await?;
    let reject = billing::RejectRequest {
        request_id: request_id("reject"),
        approval_id: second.clone(),
        note: "no".to_owned(),
    };
    let other = other!(reject, |m| m.note = "never".to_owned());
    let path = "/tandem.billing.v1.ApprovalService/Reject";
    repeat_through(&second_person, seen, path, &reject, &other).await?;
    let withdraw = billing::WithdrawRequest {
        request_id: request_id("withdraw"),
        approval_id: third.clone(),
        note: String::new(),
    };
    let other = other!(withdraw, |m| m.note = "sorry".to_owned());
    repeat(system, seen, "/tandem.billing.v1.ApprovalService/Withdraw", &withdraw, &other).await?;
    Ok(())
}

/// Payments that fit no recharge, and their decision.
async fn payments(system: &System, seen: &mut Vec<&'static str>, account: &str) -> anyhow::Result<()> {
    let record = billing::RecordPaymentRequest {
        request_id: request_id("payment"),
        channel: tandem_proto::common::v1::PaymentChannel::Alipay.into(),
        payment_id: "2026030122001".to_owned(),
        order_id: "of-somebody-else".to_owned(),
        amount: Some(cny(100)),
        pay_time: Some(tandem_service_kit::validate::to_message(system.now())),
    };
    let other = other!(record, |m| m.amount = Some(cny(200)));
    let answer =
        repeat(system, seen, "/tandem.billing.v1.PaymentService/RecordPayment", &record, &other).await?;
    let payment = billing::RecordPaymentResponse::decode(answer)?.payment.context("payment")?;
    let resolve = billing::ResolvePaymentRequest {
        request_id: request_id("resolve"),
        payment_id: payment.id,
        resolution: billing::PaymentResolution::Book.into(),
        billing_account_id: account.to_owned(),
        note: "found its owner".to_owned(),
    };
    let other = other!(resolve, |m| m.note = "other".to_owned());
    repeat(system, seen, "/tandem.billing.v1.PaymentService/ResolvePayment", &resolve, &other).await?;
    ensure!(system.wallet(account).await? == (5_200, 0), "a repetition books nothing");
    Ok(())
}

async fn billing_methods(system: &System, seen: &mut Vec<&'static str>) -> anyhow::Result<()> {
    let new_account = |name: &str| billing::NewAccount {
        username: name.to_owned(),
        email: format!("{name}@billing.example"),
        phone: String::new(),
        company: Some(Company { name: "Billed Ltd".to_owned(), ..Company::default() }),
        region: BillingRegion::Domestic.into(),
        language: Language::En.into(),
        first_password: Some(billing::new_account::FirstPassword::Password(PASSWORD.to_owned())),
    };
    let create = billing::CreateAccountRequest {
        request_id: request_id("create"),
        account: Some(new_account("billed")),
    };
    let other = billing::CreateAccountRequest { account: Some(new_account("other")), ..create.clone() };
    let answer =
        repeat(system, seen, "/tandem.billing.v1.AccountService/CreateAccount", &create, &other).await?;
    let account = billing::CreateAccountResponse::decode(answer)?.account.context("account")?;
    let send = billing::SendVerificationCodeRequest {
        request_id: request_id("send"),
        region: BillingRegion::Domestic.into(),
        username: "billed".to_owned(),
        language: Language::En.into(),
        ..Default::default()
    };
    let other = other!(send, |m| m.username = "other".to_owned());
    repeat(system, seen, "/tandem.billing.v1.AccountService/SendVerificationCode", &send, &other).await?;
    let any = billing::SetAnySettlementRequest {
        request_id: request_id("any"),
        billing_account_id: account.id.clone(),
        allowed: true,
    };
    let other = other!(any, |m| m.allowed = false);
    repeat(system, seen, "/tandem.billing.v1.AccountService/SetAnySettlement", &any, &other).await?;

    let recharge = billing::CreateRechargeRequest {
        request_id: request_id("recharge"),
        billing_account_id: account.id.clone(),
        amount: Some(cny(15_000)),
        channel: billing::RechargeChannel::BankTransfer.into(),
        buys_card: false,
    };
    let other = other!(recharge, |m| m.amount = Some(cny(6_000)));
    let answer =
        repeat(system, seen, "/tandem.billing.v1.WalletService/CreateRecharge", &recharge, &other).await?;
    let recharge = billing::CreateRechargeResponse::decode(answer)?.recharge.context("recharge")?;
    let confirm = billing::ConfirmRechargeRequest {
        request_id: request_id("confirm"),
        billing_account_id: account.id.clone(),
        recharge_id: recharge.id,
        external_ref: request_id("bank"),
    };
    let other = other!(confirm, |m| m.external_ref = "other".to_owned());
    repeat(system, seen, "/tandem.billing.v1.WalletService/ConfirmRecharge", &confirm, &other).await?;
    ensure!(system.wallet(&account.id).await? == (15_000, 0), "a repetition books nothing");
    credit(system, seen, &account.id).await?;
    ensure!(system.wallet(&account.id).await? == (5_000, 0), "a repetition buys nothing");
    approvals(system, seen, &account.id).await?;
    ensure!(system.wallet(&account.id).await? == (5_100, 0), "a repetition credits nothing");
    crate::invoices::repeat_methods(system, seen, &account.id).await?;
    payments(system, seen, &account.id).await?;

    let profile = billing::WorkspaceProfile {
        workspace_id: format!("wks_{}", tandem_service_kit::fresh::fresh_uuid().simple()),
        name: "bound".to_owned(),
        site: "cn1".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        price_zone: tandem_proto::common::v1::PriceZone::Cn.into(),
        billing_region: BillingRegion::Domestic.into(),
        default_settlement_methods: vec![
            SettlementMethod::BillingCenter.into(),
            SettlementMethod::AlibabaCloud.into(),
        ],
        language: Language::En.into(),
        owner_email: "owner@billing.example".to_owned(),
        revision: 1,
    };
    let bind = billing::BindWorkspaceRequest {
        request_id: request_id("bind"),
        workspace: Some(profile.clone()),
        payer: Some(billing::bind_workspace_request::Payer::NewAccount(new_account("binder"))),
        settlement_method: SettlementMethod::BillingCenter.into(),
        purchase: None,
    };
    let other = other!(bind, |m| m.payer =
        Some(billing::bind_workspace_request::Payer::NewAccount(new_account("other"))));
    let answer =
        repeat(system, seen, "/tandem.billing.v1.BindingService/BindWorkspace", &bind, &other).await?;
    let payer = billing::BindWorkspaceResponse::decode(answer)?.account.context("account")?;
    let create = billing::CreateAccountRequest {
        request_id: request_id("create"),
        account: Some(new_account("dollars")),
    };
    let answer = system.operator()?.billing_accounts().create_account(create).await?.into_inner();
    prices(system, seen, &answer.account.context("account")?.id, &profile.workspace_id).await?;
    let packed = billing::WorkspaceProfile {
        workspace_id: format!("wks_{}", tandem_service_kit::fresh::fresh_uuid().simple()),
        name: "packed".to_owned(),
        ..profile.clone()
    };
    let packed_id = packed.workspace_id.clone();
    let bind = billing::BindWorkspaceRequest {
        request_id: request_id("bind"),
        workspace: Some(packed),
        payer: Some(billing::bind_workspace_request::Payer::NewAccount(new_account("packer"))),
        ..bind
    };
    let bound = system.as_role(Role::Console)?.bindings().bind_workspace(bind).await?.into_inner();
    packages(system, seen, &bound.account.context("account")?.id, &packed_id).await?;
    request_changes::contacts(system, seen, &account).await?;
    request_changes::moves(system, seen, &payer, &profile.workspace_id).await?;

    let deliver = billing::DeliverUsageRequest {
        request_id: request_id("deliver"),
        usage: vec![billing::DeliveredUsage {
            workspace_id: profile.workspace_id,
            usage_day: "2026-03-02".to_owned(),
            item: BillingItem::Trigger.into(),
            quantity_hundredths: 100,
            revision: 1,
            ..Default::default()
        }],
    };
    let other = other!(deliver, |m| m.usage[0].quantity_hundredths = 200);
    repeat(system, seen, "/tandem.billing.v1.UsageService/DeliverUsage", &deliver, &other).await?;
    let close = billing::CloseUsageDayRequest {
        request_id: request_id("close"),
        site: "cn1".to_owned(),
        usage_day: "2026-03-01".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
    };
    let other = other!(close, |m| m.usage_day = "2026-02-28".to_owned());
    repeat(system, seen, "/tandem.billing.v1.UsageService/CloseUsageDay", &close, &other).await?;
    let run = billing::RunBillingRequest {
        request_id: request_id("run"),
        site: "cn1".to_owned(),
        usage_day: "2026-03-01".to_owned(),
    };
    let other = other!(run, |m| m.usage_day = "2026-02-28".to_owned());
    repeat(system, seen, "/tandem.billing.v1.BillService/RunBilling", &run, &other).await?;
    let alert = billing::SetSpendAlertRequest {
        request_id: request_id("alert"),
        workspace_id: deliver.usage[0].workspace_id.clone(),
        item: BillingItem::Trigger.into(),
        threshold: Some(cny(500)),
        notify: vec!["ops@example.com".to_owned()],
    };
    let other = other!(alert, |m| m.notify.clear());
    let answer =
        repeat(system, seen, "/tandem.billing.v1.AlertService/SetSpendAlert", &alert, &other).await?;
    let alert_id = billing::SetSpendAlertResponse::decode(answer)?.alert.unwrap_or_default().id;
    let delete = billing::DeleteSpendAlertRequest {
        request_id: request_id("alert"),
        workspace_id: deliver.usage[0].workspace_id.clone(),
        alert_id,
    };
    let other = other!(delete, |m| m.alert_id = "alr_00000000000000000000000000000000".to_owned());
    repeat(system, seen, "/tandem.billing.v1.AlertService/DeleteSpendAlert", &delete, &other).await?;
    let run = billing::RunJobRequest {
        request_id: request_id("job"),
        job: "bill_run".to_owned(),
        day: String::new(),
    };
    let other = other!(run, |m| m.job = "expiry".to_owned());
    repeat(system, seen, "/tandem.billing.v1.JobService/RunJob", &run, &other).await?;
    let run = billing::RunMonthlyBillingRequest {
        request_id: request_id("run-month"),
        month: "2026-01".to_owned(),
        billing_account_id: String::new(),
        without_waiting: false,
    };
    let other = other!(run, |m| m.month = "2025-12".to_owned());
    repeat(system, seen, "/tandem.billing.v1.BillService/RunMonthlyBilling", &run, &other).await?;

    let dissolve = billing::DissolveWorkspaceRequest {
        request_id: request_id("dissolve"),
        workspace_id: deliver.usage[0].workspace_id.clone(),
    };
    let other = other!(dissolve, |m| m.workspace_id = format!("wks_{}", "0".repeat(32)));
    repeat(system, seen, "/tandem.billing.v1.StandingService/DissolveWorkspace", &dissolve, &other).await?;

    let announce = billing::RecordMarketplaceEventsRequest {
        request_id: request_id("announce"),
        events: vec![billing::AnnouncedEvent {
            vendor: Vendor::Alibaba.into(),
            market: tandem_proto::common::v1::Market::China.into(),
            kind: billing::MarketplaceEventKind::Subscribed.into(),
            event_key: "repeated".to_owned(),
            vendor_instance_id: "1551234567".to_owned(),
            vendor_account_id: "1744000000000001".to_owned(),
            product_code: tandem_tests::configs::PRODUCT.to_owned(),
            ..Default::default()
        }],
    };
    let other = other!(announce, |m| m.events[0].vendor_account_id = "1744000000000002".to_owned());
    repeat(system, seen, "/tandem.billing.v1.MarketplaceService/RecordMarketplaceEvents", &announce, &other)
        .await?;
    let reconcile = billing::ReconcileRequest { request_id: request_id("reconcile"), ..Default::default() };
    let other = other!(reconcile, |m| m.subscription_id = format!("sub_{}", "0".repeat(32)));
    repeat(system, seen, "/tandem.billing.v1.MarketplaceService/Reconcile", &reconcile, &other).await?;
    Ok(())
}
