//! Rule R4: a workspace with a package stays with the Billing Center (`domain.md` 3.8).

use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::fault::Fault;

use crate::store::package;

/// Refuses a cloud while a package of the account is for the workspace; `today` is the workspace's.
///
/// A method acts on the usage day that is open (D8), so the package's last day counts as well. Under the account's lock
/// nobody buys a package meanwhile. Fails with `PACKAGE_RUNNING`.
pub async fn refuse(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspace: &WorkspaceId,
    method: SettlementMethod,
    today: UsageDay,
) -> Result<(), Fault> {
    let to_cloud = method != SettlementMethod::BillingCenter;
    if to_cloud && package::is_held(db, account, workspace, today).await? {
        return Err(Reason::PackageRunning.into());
    }
    Ok(())
}
