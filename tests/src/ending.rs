//! What an owner does at the end: dissolve a workspace, or open the link that shows what would unlock it.

use tandem_proto::common::v1::{Language, WorkspaceStanding};
use tandem_proto::console::v1 as console;

use crate::customer::Customer;
use crate::market::Answer;
use crate::system::{System, request_id};

impl System {
    /// Lets the owner ask for a code to dissolve a workspace, and says the whole request that dissolves it.
    pub async fn dissolution(
        &self,
        owner: &Customer,
        workspace: &str,
        name: &str,
    ) -> anyhow::Result<console::DissolveWorkspaceRequest> {
        // A code may be asked for again only after a minute.
        self.advance(jiff::SignedDuration::from_secs(61)).await?;
        let send = console::SendVerificationCodeRequest {
            request_id: request_id("code"),
            purpose: console::VerificationPurpose::DissolveWorkspace.into(),
            site: owner.site.clone(),
            email: owner.email.clone(),
            language: Language::En.into(),
        };
        let mut client = self.portal()?.registration();
        let email_code = self.code_to(&owner.email, client.send_verification_code(send)).await?;
        Ok(console::DissolveWorkspaceRequest {
            request_id: request_id("dissolve"),
            workspace_id: workspace.to_owned(),
            acting_account_id: owner.id.clone(),
            confirm_name: name.to_owned(),
            email_code,
        })
    }

    /// Waits until the Console knows a workspace's standing.
    pub async fn standing(
        &self,
        workspace: &str,
        expected: WorkspaceStanding,
    ) -> anyhow::Result<console::Workspace> {
        self.eventually("the standing is told to the Console", async || {
            let copy = self.workspace(workspace).await?;
            Ok((copy.standing() == expected).then_some(copy))
        })
        .await
    }

    /// Opens a page of the gateway as a browser does that asks for English.
    pub async fn page(&self, url: &str) -> anyhow::Result<Answer> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let response = client.get(url).header("accept-language", "en").send().await?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
    }
}
