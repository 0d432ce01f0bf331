//! The last step: makes the change, stores the answer and removes the record, in one transaction.

use jiff::Timestamp;
use prost::Message;
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::Role as CallerRole;
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::identity::Caller;
use tandem_service_kit::request_log::{Open, RequestKey, open};
use tandem_service_kit::validate;

use super::{ACTIVATE, Activated, Asked, Consent, Context, UPGRADE};
use crate::domain::member::{Member, Role};
use crate::domain::retention::Retention;
use crate::domain::usage_day::UsageDay;
use crate::domain::workspace::{
    Language, Plan, SettlementMethod, Standing, StandingCopy, Workspace, charge_start_of_new,
    charge_start_of_upgrade,
};
use crate::ops::tell_profile::tell_profile;
use crate::store::pending_activation::{self, PendingActivation};
use crate::store::workspace::StandingChange;
use crate::store::{self, usage_point};

/// The key under which the answer is stored, from what was recorded.
pub(super) fn key_of(pending: &PendingActivation) -> Result<RequestKey, Fault> {
    // The role was checked when the call came in, and is not known any more when it is finished later.
    let caller = Caller { name: pending.principal.clone(), role: CallerRole::Unspecified };
    match Asked::decode(pending)? {
        Asked::Activate(request) => RequestKey::new(&caller, ACTIVATE, &pending.request_id, &request),
        Asked::Upgrade(request) => RequestKey::new(&caller, UPGRADE, &pending.request_id, &request),
    }
}

/// Settles a request that Billing consented to. Whoever comes second gets the first one's answer.
pub(super) async fn settle<R>(
    context: &Context,
    pending: &PendingActivation,
    consent: Consent,
) -> Result<R, Fault>
where
    R: Message + Default + From<Activated>,
{
    let now = context.now();
    let call = match open::<R>(&context.db, key_of(pending)?).await? {
        Open::Answered(answer) => return Ok(answer),
        Open::Fresh(call) => call,
    };
    if !pending_activation::delete(&call.tx, pending).await? {
        return Err(Fault::new(Reason::Conflict));
    }
    let activated = match Asked::decode(pending)? {
        Asked::Activate(request) => activate(&call.tx, context, pending, request, consent, now).await?,
        Asked::Upgrade(_) => upgrade(&call.tx, context, pending, consent, now).await?,
    };
    call.finish(activated.into(), now).await
}

async fn activate(
    tx: &Tx,
    context: &Context,
    pending: &PendingActivation,
    request: console::ActivateWorkspaceRequest,
    consent: Consent,
    now: Timestamp,
) -> Result<Activated, Fault> {
    let owner = validate::parse("console_account_id", &request.console_account_id)?;
    let account = store::account::find(tx, &owner).await?.ok_or(Fault::new(Reason::ObjectNotFound))?;
    let plan = match request.activation {
        Some(Activation::Commercial(_)) => Plan::Commercial,
        Some(Activation::Free(_)) | None => Plan::Free,
    };
    let new = NewWorkspace {
        id: pending.workspace_id.clone(),
        name: request.workspace_name.trim().to_owned(),
        language: Language::from_number(request.language).ok_or(corrupt())?,
        plan,
    };
    let workspace = make(tx, context, account, new, now).await?;
    let standing = take_over(tx, context, &workspace, consent.binding.as_ref()).await?;
    Ok(Activated { workspace, standing, billing_account_id: consent.billing_account_id })
}

/// A workspace to be made.
pub(in crate::ops) struct NewWorkspace {
    pub(in crate::ops) id: tandem_proto::ids::WorkspaceId,
    pub(in crate::ops) name: String,
    pub(in crate::ops) language: Language,
    pub(in crate::ops) plan: Plan,
}

/// Makes a workspace and its owner's membership.
pub(in crate::ops) async fn make(
    tx: &Tx,
    context: &Context,
    account: crate::domain::account::Account,
    new: NewWorkspace,
    now: Timestamp,
) -> Result<Workspace, Fault> {
    let site = context.site(&account.site)?;
    let workspace = Workspace {
        id: new.id,
        name: new.name,
        site: account.site,
        language: new.language,
        plan: new.plan,
        owner: account.id.clone(),
        retention: Retention::of_new(new.plan),
        charge_start_at: (new.plan == Plan::Commercial).then(|| charge_start_of_new(now, &site.zone)),
        profile_revision: 1,
        created_at: now,
    };
    store::workspace::insert(tx, &workspace).await?;
    let member = Member { account_id: account.id.clone(), role: Role::Owner, joined_at: now };
    store::member::insert(tx, &workspace.id, &member).await?;
    store::account::set_activated(tx, &account.id).await?;
    Ok(workspace)
}

async fn upgrade(
    tx: &Tx,
    context: &Context,
    pending: &PendingActivation,
    consent: Consent,
    now: Timestamp,
) -> Result<Activated, Fault> {
    let found = store::workspace::lock(tx, &pending.workspace_id).await?;
    let mut workspace = found.ok_or(Fault::new(Reason::ObjectNotFound))?;
    let site = context.site(&workspace.site)?;
    let charge_start = charge_start_of_upgrade(now, &site.zone);
    workspace.plan = Plan::Commercial;
    workspace.charge_start_at = Some(charge_start);
    store::workspace::save(tx, &workspace).await?;
    // The Free part of today is no longer part of what is charged, nor shown (`domain.md` 3.5).
    let first_day = UsageDay::of(now, &site.zone).number();
    usage_point::remark_from(tx, workspace.id.as_str(), first_day).await?;
    let told =
        billing::BindWorkspaceRequest::decode(pending.peer_request.as_slice()).map_err(|_| corrupt())?;
    if told.workspace.is_none_or(|told| told.revision < workspace.profile_revision) {
        // It changed while the upgrade was under way.
        tell_profile(tx, context, &workspace, now).await?;
    }
    let standing = take_over(tx, context, &workspace, consent.binding.as_ref()).await?;
    Ok(Activated { workspace, standing, billing_account_id: consent.billing_account_id })
}

/// Keeps what the binding says until the feed says more; the feed may have been faster.
async fn take_over(
    tx: &Tx,
    context: &Context,
    workspace: &Workspace,
    binding: Option<&billing::WorkspaceBinding>,
) -> Result<StandingCopy, Fault> {
    let Some(binding) = binding else { return Ok(StandingCopy::UNBOUND) };
    let copy = StandingCopy {
        standing: Standing::from_number(binding.standing).unwrap_or(Standing::Active),
        lock_at: validate::timestamp("lock_time", binding.lock_time).ok(),
        settlement_method: SettlementMethod::from_number(binding.settlement_method),
        billing_account_id: Some(binding.billing_account_id.clone()).filter(|id| !id.is_empty()),
    };
    let change = StandingChange { workspace_id: workspace.id.clone(), revision: 0, copy };
    store::workspace::apply_standings(tx, &[change], context.now()).await?;
    Ok(store::workspace::standing(tx, &workspace.id).await?)
}

fn corrupt() -> StoreError {
    StoreError::Corrupt { table: "pending_activation", column: "request" }
}
