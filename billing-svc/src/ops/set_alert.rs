//! Sets, and takes back, what somebody wants to hear of (`domain.md` 3.16).

use jiff::Timestamp;
use tandem_proto::ids::{SpendAlertId, WorkspaceId};
use tandem_proto::money::Money;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use super::create_account::checked_email;
use crate::domain::alert::Watched;
use crate::store::account::{self, key};
use crate::store::alert::{self, SpendAlert};
use crate::store::workspace;

/// Most addresses of one rule.
const NOTIFY_MAX: usize = 50;

/// What somebody wants to hear of.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// What is watched.
    pub watched: Watched,
    /// Above zero, in the currency of the workspace's account.
    pub threshold: Money,
    /// Who is told beside the owner.
    pub notify: Vec<String>,
}

/// Sets a rule, or changes the one that watches the same.
///
/// Fails with `WORKSPACE_NOT_BOUND`, or with the field that is wrong.
pub async fn set(tx: &Tx, wish: Wish, now: Timestamp) -> Result<SpendAlert, Fault> {
    let found = workspace::find(tx, &wish.workspace).await?;
    let found = found.ok_or_else(|| Fault::new(Reason::WorkspaceNotBound))?;
    let payer = account::find(tx, &found.billing_account).await?;
    let payer =
        payer.ok_or(StoreError::Corrupt { table: "workspace_directory", column: "billing_account_id" })?;
    if wish.threshold.currency != payer.currency {
        let right = format!("must be {}, the account's currency", payer.currency);
        return Err(Fault::field("threshold.currency_code", right));
    }
    if wish.notify.len() > NOTIFY_MAX {
        return Err(Fault::field("notify", format!("at most {NOTIFY_MAX} addresses")));
    }
    let mut notify: Vec<String> = Vec::with_capacity(wish.notify.len());
    for (place, address) in wish.notify.iter().enumerate() {
        let address = checked_email(&format!("notify[{place}]"), address)?;
        if !notify.iter().any(|known| key(known) == key(&address)) {
            notify.push(address);
        }
    }
    let mut alert = SpendAlert {
        billing_account: found.billing_account,
        id: fresh(),
        workspace: wish.workspace,
        watched: wish.watched,
        currency: wish.threshold.currency,
        threshold: wish.threshold.minor,
        notify,
    };
    alert.id = alert::set(tx, &alert, now).await?;
    Ok(alert)
}

/// Takes a rule back. Fails with `OBJECT_NOT_FOUND`.
pub async fn delete(tx: &Tx, workspace: &WorkspaceId, id: &SpendAlertId) -> Result<(), Fault> {
    let found = workspace::find(tx, workspace).await?.ok_or(Fault::not_found("workspace_id"))?;
    let deleted = alert::delete(tx, &found.billing_account, id).await?;
    if deleted { Ok(()) } else { Err(Fault::not_found("alert_id")) }
}
