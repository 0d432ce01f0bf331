//! Takes over what the Console knows of a workspace.

use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::bind_workspace::Profile;
use crate::store::workspace::{self, Workspace};

/// Takes over name, owner's address and the site's methods; an older revision changes nothing. Site, zones and
/// language stay what they were when it was bound.
///
/// Fails with `WORKSPACE_NOT_BOUND`.
pub async fn run(tx: &Tx, profile: &Profile) -> Result<(), Fault> {
    let found = workspace::lock(tx, std::slice::from_ref(&profile.id)).await?.pop();
    let found = found.ok_or(Fault::new(Reason::WorkspaceNotBound))?;
    let updated = Workspace {
        name: profile.name.clone(),
        owner_email: profile.owner_email.clone(),
        default_methods: profile.default_methods.clone(),
        profile_revision: profile.revision,
        ..found
    };
    Ok(workspace::save_profile(tx, &updated).await?)
}
