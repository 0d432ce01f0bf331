//! Tells Billing which workspaces were dissolved, until Billing has taken it.

use tandem_proto::billing::v1::DissolveWorkspaceRequest;
use tandem_proto::billing::v1::standing_service_client::StandingServiceClient;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::reason::{Reason, Retry};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::lease::after;
use tandem_service_kit::peer;

use super::Context;
use crate::store::ending;

/// Workspaces of one round: each may take as long as a call to Billing.
const BATCH: u32 = 8;
/// When Billing is told again that was away.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(2);
/// When Billing is told again that refused: that should not happen, so somebody has to look.
const AGAIN_REFUSED: std::time::Duration = std::time::Duration::from_secs(600);

/// Tells some; returns of how many Billing has heard now.
///
/// It never gives up, because the owner was promised. The request's id is made of the workspace's, so that a repetition
/// after a crash changes nothing.
pub async fn some(context: &Context) -> Result<usize, Fault> {
    let untold = ending::untold(&context.db.read, context.now(), BATCH).await?;
    let mut told = 0;
    for workspace in &untold {
        let next = match tell(context, workspace).await {
            Ok(()) => {
                told += 1;
                None
            }
            Err(fault) if is_refusal(&fault) => {
                tracing::error!(
                    workspace.id = %workspace, reason = fault.reason.name(), "Billing refuses the end of {workspace}"
                );
                Some(after(context.now(), AGAIN_REFUSED))
            }
            Err(fault) => {
                tracing::warn!(
                    workspace.id = %workspace, reason = fault.reason.name(), "Billing has not heard of the end of {workspace}"
                );
                Some(after(context.now(), AGAIN))
            }
        };
        ending::set_tell_at(&context.db.write, workspace, next).await?;
        if next.is_some() {
            // What keeps one from being told mostly keeps all.
            break;
        }
    }
    Ok(told)
}

async fn tell(context: &Context, workspace: &WorkspaceId) -> Result<(), Fault> {
    let request = DissolveWorkspaceRequest {
        request_id: format!("dissolve.{workspace}"),
        workspace_id: workspace.to_string(),
    };
    let mut client = StandingServiceClient::new(context.billing.clone());
    client.dissolve_workspace(request).await.map(drop).map_err(|status| peer::fault(&status))
}

fn is_refusal(fault: &Fault) -> bool {
    fault.reason.retry() == Retry::Never && fault.reason != Reason::Internal
}
