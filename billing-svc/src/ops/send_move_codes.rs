//! Mails the two codes that move a workspace to another billing account (`domain.md` 3.9, D10, D18).

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::{outbox, verification};

use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::mail::{self, Letter};
use crate::store::account;
use crate::store::workspace::{self, Workspace};

/// What the code for the account that pays now is for.
pub(super) const FROM: &str = "workspace_move_from";
/// What the code for the account that is to pay is for.
pub(super) const TO: &str = "workspace_move_to";

/// Who takes part in a move.
#[derive(Debug, Clone)]
pub struct Parties {
    /// The workspace.
    pub workspace: Workspace,
    /// Who pays now.
    pub from: BillingAccount,
    /// Who is to pay.
    pub to: BillingAccount,
}

impl Parties {
    /// What the codes are bound to: this move and the addresses they are mailed to.
    pub(super) fn addresses(&self) -> [String; 2] {
        let Parties { workspace, from, to } = self;
        let of = |to_whom: &BillingAccount| {
            format!("{} {} {} {}", workspace.id, from.id, to.id, account::key(&to_whom.email))
        };
        [of(from), of(to)]
    }
}

/// Finds out who would take part; `None` when the workspace is not bound, when there is no other account of that name,
/// and when it is the account that pays already. An account of the other Billing Center is found, too, so that its
/// holder can be told.
pub(super) async fn parties(
    db: &impl ConnectionTrait,
    id: &WorkspaceId,
    to_username: &str,
) -> Result<Option<Parties>, StoreError> {
    let Some(workspace) = workspace::find(db, id).await? else { return Ok(None) };
    let from = account::find(db, &workspace.billing_account).await?.ok_or(StoreError::Conflict)?;
    let mut to = account::find_by_username(db, from.region, to_username).await?;
    for other in BillingRegion::ALL.iter().filter(|other| **other != from.region) {
        if to.is_none() {
            to = account::find_by_username(db, *other, to_username).await?;
        }
    }
    Ok(to.filter(|to| to.id != from.id).map(|to| Parties { workspace, from, to }))
}

/// Sends the codes and returns how many seconds they are good.
///
/// Does the same when there is nobody to send them to, except that no mail leaves. Fails with `CODE_TOO_SOON`.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    id: &WorkspaceId,
    to_username: &str,
    now: Timestamp,
) -> Result<i32, Fault> {
    let found = parties(tx, id, to_username).await?;
    let addresses = match &found {
        Some(parties) => parties.addresses(),
        None => {
            let nobody = format!("nobody {id} {}", account::key(to_username));
            [nobody.clone(), nobody]
        }
    };
    let codes = [
        verification::issue(tx, FROM, &addresses[0], now).await?,
        verification::issue(tx, TO, &addresses[1], now).await?,
    ];
    if let Some(Parties { workspace, from, to }) = &found {
        let minutes = i64::try_from(verification::GOOD_FOR.as_secs() / 60).unwrap_or(0);
        let mails = [from, to].into_iter().zip(&codes).map(|(reader, code)| {
            let letter = Letter::MoveCode {
                workspace: workspace.name.clone(),
                from: from.username.clone(),
                to: to.username.clone(),
                code: code.digits().to_owned(),
                minutes,
            };
            let key = format!("move-code:{}:{}:{}", workspace.id, reader.id, now.as_microsecond());
            let about = reader.id.as_str();
            mail::outgoing(&ctx.letterhead, &letter, &reader.email, reader.language, about, &key)
        });
        outbox::add(tx, &mails.collect::<Vec<_>>(), now).await?;
    }
    Ok(i32::try_from(verification::GOOD_FOR.as_secs()).unwrap_or(i32::MAX))
}
