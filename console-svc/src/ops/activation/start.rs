//! The first step: records what is asked, and what Billing is going to be asked.

use prost::Message as _;
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1 as common;
use tandem_proto::console::v1 as console;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::{fresh, fresh_uuid};
use tandem_service_kit::request_log::{RequestKey, replay};

use super::{Asked, Context, UPGRADE};
use crate::domain::account::Account;
use crate::domain::member::Role;
use crate::domain::retention::Retention;
use crate::domain::site::Site;
use crate::domain::workspace::{Language, Plan, Workspace};
use crate::ops::access;
use crate::ops::tell_profile::profile;
use crate::store::{self, pending_activation};

/// What is asked for, with its fields checked, and the request it came in.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A Free workspace with a billing account beside it.
    FreeWithAccount {
        /// Becomes the owner.
        owner: ConsoleAccountId,
        /// The workspace's language.
        language: Language,
        /// The request.
        request: console::ActivateWorkspaceRequest,
    },
    /// A Commercial workspace.
    Commercial {
        /// Becomes the owner.
        owner: ConsoleAccountId,
        /// The workspace's name.
        name: String,
        /// Its language.
        language: Language,
        /// Who pays, and how.
        terms: console::CommercialActivation,
        /// The request.
        request: console::ActivateWorkspaceRequest,
    },
    /// A Free workspace made Commercial.
    Upgrade {
        /// The workspace.
        workspace: WorkspaceId,
        /// Must be the owner.
        acting: ConsoleAccountId,
        /// Who pays, and how.
        terms: console::CommercialActivation,
        /// The request.
        request: console::UpgradeWorkspaceRequest,
    },
}

/// What recording came to.
pub(super) enum Recorded {
    /// It is recorded.
    Pending(pending_activation::PendingActivation),
    /// A twin of the request was finished meanwhile.
    Answered,
}

/// Records a request; a twin that was recorded in the same moment is returned instead.
pub(super) async fn record(context: &Context, key: &RequestKey, wish: Wish) -> Result<Recorded, Fault> {
    let now = context.now();
    let tx = context.db.begin().await?;
    let (workspace_id, asked, peer_request) = prepare(&tx, context, wish).await?;
    let pending = pending_activation::PendingActivation {
        workspace_id,
        principal: key.principal().to_owned(),
        method: key.method().to_owned(),
        request_id: key.request_id().to_owned(),
        request: asked.encode(),
        peer_request,
        attempts: 0,
    };
    if !pending_activation::insert(&tx, &pending, now).await? {
        tx.rollback().await;
        // Either this request's twin, or another upgrade of the workspace, which has to end first.
        let twin = super::find(context, key).await?;
        return twin.map(Recorded::Pending).ok_or(Fault::new(Reason::Conflict));
    }
    // A twin may have finished between our first look and our record: its answer counts, and nothing starts anew.
    if answered(context, key).await? {
        tx.rollback().await;
        return Ok(Recorded::Answered);
    }
    tx.commit().await?;
    Ok(Recorded::Pending(pending))
}

async fn answered(context: &Context, key: &RequestKey) -> Result<bool, Fault> {
    // Only whether there is an answer matters here; every message reads as an empty one of another kind.
    Ok(if key.method() == UPGRADE {
        replay::<console::UpgradeWorkspaceResponse>(&context.db, key).await?.is_some()
    } else {
        replay::<console::ActivateWorkspaceResponse>(&context.db, key).await?.is_some()
    })
}

async fn prepare(
    tx: &impl sea_orm::ConnectionTrait,
    context: &Context,
    wish: Wish,
) -> Result<(WorkspaceId, Asked, Vec<u8>), Fault> {
    match wish {
        Wish::FreeWithAccount { owner, language, request } => {
            let account = owner_account(tx, &owner).await?;
            let site = context.site(&account.site)?;
            let peer = billing::CreateAccountRequest {
                request_id: peer_request_id(),
                account: Some(new_account(account, site, language)),
            };
            Ok((fresh(), Asked::Activate(request), peer.encode_to_vec()))
        }
        Wish::Commercial { owner, name, language, terms, request } => {
            let account = owner_account(tx, &owner).await?;
            let site = context.site(&account.site)?;
            let workspace = Workspace {
                id: fresh(),
                name,
                site: site.code.clone(),
                language,
                plan: Plan::Commercial,
                owner,
                retention: Retention::of_new(Plan::Commercial),
                charge_start_at: None,
                profile_revision: 1,
                created_at: context.now(),
            };
            let peer = bind(&workspace, site, account, terms)?;
            Ok((workspace.id, Asked::Activate(request), peer.encode_to_vec()))
        }
        Wish::Upgrade { workspace, acting, terms, request } => {
            let (workspace, member) = access::as_member_locked(tx, &workspace, &acting).await?;
            if member.role != Role::Owner {
                return Err(Fault::new(Reason::NotOwner));
            }
            if workspace.plan == Plan::Commercial {
                return Err(Fault::new(Reason::AlreadyCommercial));
            }
            let account = owner_account(tx, &acting).await?;
            let peer = bind(&workspace, context.site(&workspace.site)?, account, terms)?;
            Ok((workspace.id, Asked::Upgrade(request), peer.encode_to_vec()))
        }
    }
}

async fn owner_account(tx: &impl sea_orm::ConnectionTrait, id: &ConsoleAccountId) -> Result<Account, Fault> {
    store::account::find(tx, id).await?.ok_or(Fault::not_found("console_account_id"))
}

/// Made once and stored with the request, so that it is the same in every try.
fn peer_request_id() -> String {
    format!("activate.{}", fresh_uuid().simple())
}

fn bind(
    workspace: &Workspace,
    site: &Site,
    account: Account,
    terms: console::CommercialActivation,
) -> Result<billing::BindWorkspaceRequest, Fault> {
    use billing::bind_workspace_request::{Payer, Purchase};
    use console::commercial_activation as asked;
    let profile = profile(workspace, site, &account.email);
    let payer = match terms.payer {
        Some(asked::Payer::CreateBillingAccount(true)) => {
            Payer::NewAccount(new_account(account, site, workspace.language))
        }
        Some(asked::Payer::ExistingAccount(proof)) => {
            Payer::ProvedAccount(billing::ProvedAccount { username: proof.username, code: proof.code })
        }
        Some(asked::Payer::CreateBillingAccount(false)) | None => {
            return Err(Fault::field(
                "payer",
                "say create_billing_account = true or name an existing_account",
            ));
        }
    };
    let purchase = terms.purchase.map(|purchase| match purchase {
        asked::Purchase::PurchaseIds(ids) => Purchase::PurchaseIds(ids),
        asked::Purchase::LandingTicket(ticket) => Purchase::LandingTicket(ticket),
        asked::Purchase::CloudAccountId(id) => Purchase::CloudAccountId(id),
    });
    Ok(billing::BindWorkspaceRequest {
        request_id: peer_request_id(),
        workspace: Some(profile),
        settlement_method: terms.settlement_method,
        payer: Some(payer),
        purchase,
    })
}

fn new_account(account: Account, site: &Site, language: Language) -> billing::NewAccount {
    billing::NewAccount {
        username: account.username,
        email: account.email,
        phone: account.phone,
        company: Some(common::Company::from(account.company)),
        region: site.billing_region.number(),
        language: language.number(),
        first_password: Some(billing::new_account::FirstPassword::PasswordHash(account.password_hash)),
    }
}
