//! Gets a workspace's owner a link that shows, without signing in, what would unlock it (`domain.md` 3.12).

use tandem_proto::billing::v1::standing_service_client::StandingServiceClient;
use tandem_proto::billing::v1::{IssueUnlockLinkRequest, IssueUnlockLinkResponse};
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::peer::{self, call_with_retry};

use super::{Context, access};
use crate::domain::member::Role;

/// Tries of one call to Billing: a second one bridges a broken connection.
const TRIES: u32 = 2;
/// How long the link works: it is opened from the lock page at once.
const VALID_SECS: i32 = 3_600;

/// Asks Billing for the link.
///
/// Fails with `OBJECT_NOT_FOUND`, `NOT_OWNER`, `WORKSPACE_NOT_BOUND` and `PEER_UNAVAILABLE`.
pub async fn run(
    context: &Context,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
) -> Result<IssueUnlockLinkResponse, Fault> {
    let (_, member) = access::as_member(&context.db.read, workspace, acting).await?;
    if member.role != Role::Owner {
        return Err(Fault::new(Reason::NotOwner));
    }
    let request = IssueUnlockLinkRequest { workspace_id: workspace.to_string(), valid_seconds: VALID_SECS };
    let client = StandingServiceClient::new(context.billing.clone());
    let call = || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.issue_unlock_link(request).await }
    };
    call_with_retry(TRIES, call).await.map_err(|status| peer::fault(&status))
}
