//! Drops changes whose purchase was not made in time, and tells the account (D11).

use std::collections::HashMap;

use jiff::Timestamp;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use crate::context::Context;
use crate::mail::{self, Letter};
use crate::store::{account, settlement_change, workspace};

/// Accounts in one transaction; each has a few workspaces that wait.
const BATCH: i64 = 50;

/// Drops the expired changes of a bounded number of accounts. Returns how many were dropped.
///
/// A change that has expired is not seen any more anyway; this forgets it, and says so once.
pub async fn run(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let due = settlement_change::expired_accounts(&ctx.db.read, now, BATCH).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let tx = ctx.db.begin().await?;
    let payers = account::lock_all(&tx, &due).await?;
    let expired = settlement_change::lock_expired(&tx, &due, now).await?;
    let places: Vec<_> = expired.iter().map(|c| (c.billing_account.clone(), c.workspace.clone())).collect();
    let ids: Vec<_> = expired.iter().map(|c| c.workspace.clone()).collect();
    let names: HashMap<_, _> =
        workspace::find_all(&tx, &ids).await?.into_iter().map(|w| (w.id.clone(), w.name)).collect();
    let mut mails = Vec::new();
    for change in &expired {
        let payer = payers.iter().find(|payer| payer.id == change.billing_account);
        let (Some(payer), Some(name)) = (payer, names.get(&change.workspace)) else { continue };
        let letter = Letter::ChangeExpired { workspace: name.clone(), method: change.method };
        let key = format!("change-expired:{}:{}", change.workspace, change.requested_at.as_microsecond());
        let about = payer.id.as_str();
        mails.push(mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, about, &key));
    }
    settlement_change::remove(&tx, &places).await?;
    outbox::add(&tx, &mails, now).await?;
    tx.commit().await?;
    Ok(expired.len())
}
