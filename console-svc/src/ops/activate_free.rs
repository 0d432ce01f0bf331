//! Makes a Free workspace without a billing account: nobody else has to consent (`domain.md` 3.5).

use jiff::Timestamp;
use tandem_proto::ids::ConsoleAccountId;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use super::Context;
use super::activation::{Activated, NewWorkspace, make};
use crate::domain::workspace::{Language, Plan, StandingCopy};
use crate::store;

/// Makes the workspace.
pub async fn run(
    tx: &Tx,
    context: &Context,
    owner: &ConsoleAccountId,
    name: String,
    language: Language,
    now: Timestamp,
) -> Result<Activated, Fault> {
    let account = store::account::find(tx, owner).await?.ok_or(Fault::not_found("console_account_id"))?;
    let new = NewWorkspace { id: fresh(), name, language, plan: Plan::Free };
    let workspace = make(tx, context, account, new, now).await?;
    Ok(Activated { workspace, standing: StandingCopy::UNBOUND, billing_account_id: String::new() })
}
