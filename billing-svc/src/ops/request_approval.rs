//! Asks for an act that takes two people.

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use crate::domain::account::BillingAccount;
use crate::domain::approval::{self, Act, Approval, ApprovalState, OPEN_FOR, Plan, PlanError};
use crate::domain::card;
use crate::domain::standing::LockCause;
use crate::store::account;
use crate::store::approval as approvals;
use crate::store::lot;
use crate::store::recharge::{self, RechargeState};
use crate::store::workspace::{self, Workspace};

/// Stores a request, after looking whether the act could be done now. Nothing is changed or set aside.
///
/// Fails with `OBJECT_NOT_FOUND`, `CURRENCY_MISMATCH`, `BALANCE_INSUFFICIENT`, `EXTERNAL_REF_USED` and
/// `NOTHING_TO_UNLOCK`.
pub async fn run(
    tx: &Tx,
    account: &BillingAccountId,
    act: Act,
    reason: String,
    requested_by: &str,
    now: Timestamp,
) -> Result<Approval, Fault> {
    let payer = account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let request = Approval {
        id: fresh(),
        billing_account: account.clone(),
        act,
        reason,
        state: ApprovalState::Waiting,
        requested_by: requested_by.to_owned(),
        requested_at: now,
        expires_at: now + OPEN_FOR,
        decided_by: None,
        decided_at: None,
        note: String::new(),
    };
    look(tx, &payer, &request, now).await?;
    approvals::insert(tx, &request).await?;
    tracing::info!(
        approval.id = %request.id, requester = requested_by, kind = request.act.kind().name(),
        "{requested_by} asked for a second person's approval {}", request.id
    );
    Ok(request)
}

/// What an act finds: what it would move, or whom it would unlock.
pub(super) struct Prospect {
    /// What moves in the wallet.
    pub(super) plan: Plan,
    /// What is owed after it; zero or below.
    pub(super) overdraft: i64,
    /// The workspaces that would be unlocked; locked in the transaction.
    pub(super) held: Vec<Workspace>,
}

/// Looks at what an act would do now. The account must be locked.
pub(super) async fn look(
    tx: &Tx,
    payer: &BillingAccount,
    request: &Approval,
    now: Timestamp,
) -> Result<Prospect, Fault> {
    if request.act.amount().is_some_and(|amount| amount.currency != payer.currency) {
        return Err(Fault::new(Reason::CurrencyMismatch).with("currency", payer.currency.code()));
    }
    if let Act::Refund { recharge, external_ref, .. } = &request.act {
        let found = recharge::lock_all(tx, &payer.id, std::slice::from_ref(recharge)).await?;
        let found = found.first().ok_or(Fault::not_found("refund.recharge_id"))?;
        if found.state != RechargeState::Paid {
            return Err(Reason::BalanceInsufficient.into());
        }
        if approvals::is_reference_used(tx, external_ref).await? {
            return Err(Reason::ExternalRefUsed.into());
        }
    }
    let held = match &request.act {
        Act::Unlock { workspace, .. } => held(tx, payer, workspace.as_ref()).await?,
        Act::Credit(_) | Act::Debit(_) | Act::Refund { .. } => Vec::new(),
    };
    let mut wallet = lot::wallet(tx, &payer.id).await?;
    let today = card::today(payer.region, now);
    let plan = approval::plan(&request.id, &request.act, &mut wallet, today, now);
    let plan = plan.map_err(|error| match error {
        PlanError::Insufficient => Fault::new(Reason::BalanceInsufficient),
        PlanError::Overflow => StoreError::Corrupt { table: "ledger_account", column: "balance" }.into(),
    })?;
    Ok(Prospect { plan, overdraft: wallet.overdraft(), held })
}

/// The workspaces that the account's arrears hold, locked. Fails with `NOTHING_TO_UNLOCK` when there are none.
async fn held(
    tx: &Tx,
    payer: &BillingAccount,
    workspace: Option<&tandem_proto::ids::WorkspaceId>,
) -> Result<Vec<Workspace>, Fault> {
    let found = match workspace {
        Some(id) => {
            let found = workspace::lock(tx, std::slice::from_ref(id)).await?;
            if !found.iter().any(|w| w.billing_account == payer.id) {
                return Err(Fault::not_found("forced_unlock.workspace_id"));
            }
            found
        }
        None => workspace::lock_settled_by_billing_center(tx, std::slice::from_ref(&payer.id)).await?,
    };
    let held: Vec<Workspace> =
        found.into_iter().filter(|w| w.standing.release(LockCause::Arrears).is_some()).collect();
    if held.is_empty() { Err(Reason::NothingToUnlock.into()) } else { Ok(held) }
}
