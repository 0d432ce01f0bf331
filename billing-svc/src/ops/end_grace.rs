//! Ends the time that forced unlocks gave: where the debt still stands, a new countdown starts from that instant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Money;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::stand;
use crate::context::Context;
use crate::domain::standing::{LOCK_COUNTDOWN, LockCause, Standing};
use crate::mail::{self, Letter};
use crate::store::approval::{self as approvals, Grace};
use crate::store::workspace::{self, Workspace};
use crate::store::{account, lot};

/// Graces ended in one transaction.
const BATCH: i64 = 200;

/// Ends a bounded number of graces that are over. Returns how many.
///
/// A workspace whose account owes nothing any more, which is settled in another way now, or which is counted down or
/// locked for another reason, only loses its grace.
pub async fn run(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let due = approvals::ended_graces(&ctx.db.read, now, BATCH).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let accounts: Vec<BillingAccountId> = due.iter().map(|grace| grace.billing_account.clone()).collect();
    let tx = ctx.db.begin().await?;
    let payers = account::lock_all(&tx, &accounts).await?;
    let owing: Vec<_> = payers.into_iter().filter(|payer| payer.arrears_since.is_some()).collect();
    let owing_ids: Vec<BillingAccountId> = owing.iter().map(|payer| payer.id.clone()).collect();
    let workspaces = workspace::lock_settled_by_billing_center(&tx, &owing_ids).await?;
    let ended = approvals::take_graces(&tx, &due).await?;
    let counted: Vec<(Workspace, Standing)> = workspaces
        .into_iter()
        .filter_map(|w| {
            let grace = ended.iter().find(|grace| grace.workspace == w.id)?;
            let standing = w.standing.count_down(LockCause::Arrears, grace.ends_at)?;
            Some((w, standing))
        })
        .collect();
    stand::change(&tx, &counted, now).await?;
    let wallets = lot::wallets(&tx, &owing_ids).await?;
    let mut mails = Vec::new();
    for ((account, ends_at), zone) in countdowns(&counted, &ended) {
        let Some(payer) = owing.iter().find(|payer| payer.id == *account) else { continue };
        let owed = wallets.get(account).map_or(0, |wallet| wallet.overdraft().saturating_neg());
        let letter = Letter::ArrearsStarted {
            amount: Money { minor: owed, currency: payer.currency }.to_string(),
            lock_day: mail::moment(ends_at + LOCK_COUNTDOWN, zone),
            link: ctx.links.mailed(payer.id.as_str(), now),
        };
        let key = format!("grace-over:{account}:{}", ends_at.as_microsecond());
        mails.push(mail::outgoing(
            &ctx.letterhead,
            &letter,
            &payer.email,
            payer.language,
            payer.id.as_str(),
            &key,
        ));
    }
    outbox::add(&tx, &mails, now).await?;
    tx.commit().await?;
    tracing::info!(workspaces = counted.len(), "ended {} graces of forced unlocks", ended.len());
    Ok(ended.len())
}

/// One countdown for each account and instant, with a zone to tell it in.
fn countdowns<'a>(
    counted: &'a [(Workspace, Standing)],
    ended: &[Grace],
) -> BTreeMap<(&'a BillingAccountId, Timestamp), &'a str> {
    let mut found = BTreeMap::new();
    for (w, _) in counted {
        if let Some(grace) = ended.iter().find(|grace| grace.workspace == w.id) {
            found.insert((&w.billing_account, grace.ends_at), w.time_zone.as_str());
        }
    }
    found
}
