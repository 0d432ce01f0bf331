//! Takes over what the Console knows of a workspace.

use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
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
    // It may have been moved while its row was waited for; then that row is history, and the call is to be repeated.
    let place = workspace::find(tx, &profile.id).await?.map(|w| w.billing_account);
    if place.as_ref() != Some(&found.billing_account) {
        return Err(StoreError::Conflict.into());
    }
    let updated = Workspace {
        name: profile.name.clone(),
        owner_email: profile.owner_email.clone(),
        default_methods: profile.default_methods.clone(),
        profile_revision: profile.revision,
        ..found
    };
    Ok(workspace::save_profile(tx, &updated).await?)
}
