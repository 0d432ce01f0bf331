//! Tells Billing a workspace's new profile, from the outbox.

use prost::Message as _;
use tandem_proto::billing::v1::binding_service_client::BindingServiceClient;
use tandem_proto::billing::v1::{UpdateWorkspaceProfileRequest, WorkspaceProfile};
use tandem_proto::reason::Retry;
use tandem_service_kit::outbox::{Claimed, Failure, Handler};
use tandem_service_kit::peer::{self, PeerChannel};

/// Delivers messages of the topic `workspace-profile`.
pub struct ProfileHandler {
    billing: PeerChannel,
}

impl ProfileHandler {
    /// Makes the handler.
    pub fn new(billing: PeerChannel) -> ProfileHandler {
        ProfileHandler { billing }
    }
}

#[tonic::async_trait]
impl Handler for ProfileHandler {
    async fn deliver(&self, message: &Claimed) -> Result<(), Failure> {
        let profile = WorkspaceProfile::decode(message.payload.as_slice())
            .map_err(|_| Failure::Refused("the stored profile cannot be read".to_owned()))?;
        // The message's id is the same at every try; an older revision changes nothing at Billing.
        let request =
            UpdateWorkspaceProfileRequest { request_id: message.id.clone(), workspace: Some(profile) };
        match BindingServiceClient::new(self.billing.clone()).update_workspace_profile(request).await {
            Ok(_) => Ok(()),
            Err(status) => {
                let fault = peer::fault(&status);
                let again = fault.reason.retry() != Retry::Never
                    || matches!(status.code(), tonic::Code::Internal | tonic::Code::Unknown);
                let reason = fault.reason.name().to_owned();
                Err(if again { Failure::Retry(reason) } else { Failure::Refused(reason) })
            }
        }
    }
}
