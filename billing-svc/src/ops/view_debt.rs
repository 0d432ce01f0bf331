//! What an account owes, what hangs on it, and what would end it (`domain.md` 3.12).

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::money::Money;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::fault::Fault;

use crate::domain::account::BillingAccount;
use crate::domain::standing::{LOCK_COUNTDOWN, Remedy};
use crate::store::debt;
use crate::store::workspace::{self, Workspace};
use crate::store::{account, binding, lot};

/// Most workspaces that are shown; the others are only counted.
const WORKSPACES_MAX: i64 = 100;

/// What is owed.
#[derive(Debug, Clone)]
pub struct Debt {
    /// Who owes.
    pub account: BillingAccount,
    /// How much; zero when nothing is owed.
    pub owed: Money,
    /// Bills that are not paid.
    pub owed_bills: i64,
    /// When workspaces that were settled by the Billing Center at the start are locked.
    pub lock_at: Option<Timestamp>,
    /// Workspaces that are locked or about to be, the earliest deadline first.
    pub workspaces: Vec<HeldWorkspace>,
    /// How many of them there are.
    pub workspace_count: i64,
}

/// A workspace that is locked or about to be.
#[derive(Debug, Clone)]
pub struct HeldWorkspace {
    /// The workspace.
    pub workspace: Workspace,
    /// How it is settled.
    pub method: SettlementMethod,
    /// What would free it.
    pub remedies: Vec<Remedy>,
}

/// An account's debt with the workspaces that are held. Fails with `OBJECT_NOT_FOUND`.
pub async fn of_account(db: &impl ConnectionTrait, id: &BillingAccountId) -> Result<Debt, Fault> {
    let account = account::find(db, id).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let held = debt::held_workspaces(db, id, WORKSPACES_MAX).await?;
    let count = debt::count_held(db, id).await?;
    view(db, account, held, count).await
}

/// A workspace's debt: its account's, and that workspace alone, whatever its standing. Fails with `OBJECT_NOT_FOUND`.
pub async fn of_workspace(db: &impl ConnectionTrait, id: &WorkspaceId) -> Result<Debt, Fault> {
    let not_found = || Fault::not_found("workspace_id");
    let found = workspace::find(db, id).await?.ok_or_else(not_found)?;
    let account = account::find(db, &found.billing_account).await?.ok_or_else(not_found)?;
    let period = binding::current(db, id).await?;
    let method = period.map_or(SettlementMethod::BillingCenter, |p| p.settlement.method());
    view(db, account, vec![(found, method)], 1).await
}

async fn view(
    db: &impl ConnectionTrait,
    account: BillingAccount,
    held: Vec<(Workspace, SettlementMethod)>,
    workspace_count: i64,
) -> Result<Debt, Fault> {
    let overdraft = lot::wallet_of(db, &account.id, &[]).await?.overdraft();
    let owed = Money { minor: overdraft.saturating_neg(), currency: account.currency };
    let owed_bills = debt::count_owed_bills(db, &account.id).await?;
    let held = held.into_iter().map(|(workspace, method)| {
        let by_center = method == SettlementMethod::BillingCenter;
        let remedies = workspace.standing.remedies(by_center, owed.minor > 0);
        HeldWorkspace { workspace, method, remedies }
    });
    Ok(Debt {
        lock_at: account.arrears_since.map(|since| since + LOCK_COUNTDOWN),
        owed,
        owed_bills,
        workspaces: held.collect(),
        workspace_count,
        account,
    })
}
