//! What Billing has to know of a workspace, and telling it when that changes.

use jiff::Timestamp;
use prost::Message as _;
use tandem_proto::billing::v1 as billing;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox::{self, Outgoing};

use super::Context;
use crate::domain::site::Site;
use crate::domain::workspace::Workspace;
use crate::store;

/// The topic of messages that tell Billing a workspace's new profile.
pub const PROFILE_TOPIC: &str = "workspace-profile";

/// Tells Billing a workspace's profile once `tx` has committed.
pub async fn tell_profile(
    tx: &Tx,
    context: &Context,
    workspace: &Workspace,
    now: Timestamp,
) -> Result<(), Fault> {
    let owner = store::account::find(tx, &workspace.owner).await?;
    let owner = owner.ok_or(Fault::not_found("console_account_id"))?;
    let message = Outgoing {
        topic: PROFILE_TOPIC,
        aggregate_id: workspace.id.to_string(),
        dedupe_key: Some(format!("profile.{}.{}", workspace.id, workspace.profile_revision)),
        payload: profile(workspace, context.site(&workspace.site)?, &owner.email).encode_to_vec(),
    };
    outbox::add(tx, &[message], now).await?;
    Ok(())
}

/// What Billing has to know of a workspace.
pub fn profile(workspace: &Workspace, site: &Site, owner_email: &str) -> billing::WorkspaceProfile {
    billing::WorkspaceProfile {
        workspace_id: workspace.id.to_string(),
        name: workspace.name.clone(),
        site: site.code.clone(),
        time_zone: site.time_zone.clone(),
        price_zone: site.price_zone.number(),
        billing_region: site.billing_region.number(),
        default_settlement_methods: site.default_settlement_methods.iter().map(|m| m.number()).collect(),
        language: workspace.language.number(),
        owner_email: owner_email.to_owned(),
        revision: workspace.profile_revision,
    }
}
