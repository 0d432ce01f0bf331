//! What the Console does: one operation per file. An operation loads, decides and saves in one transaction; it does not
//! know how it is called.

pub mod access;
pub mod activate_free;
pub mod activation;
pub mod add_member;
pub mod apply_events;
pub mod change_password;
pub mod close_day;
pub mod deliver_usage;
pub mod dissolve_workspace;
pub mod get_quota;
pub mod issue_unlock_link;
pub mod purge_points;
pub mod record_usage;
pub mod register_account;
pub mod remove_member;
pub mod roll_up;
pub mod send_code;
pub mod set_member_role;
pub mod set_retention;
pub mod sign_in;
pub mod summarise_usage;
pub mod tell_dissolved;
pub mod tell_profile;

use std::sync::Arc;

use jiff::Timestamp;
use tandem_proto::reason::Reason;
use tandem_service_kit::clock::SharedClock;
use tandem_service_kit::config::MailSection;
use tandem_service_kit::db::Database;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::peer::PeerChannel;
use tokio::sync::Notify;

use crate::config::UsageSection;
use crate::domain::site::{Site, Sites};
use crate::meters::Meters;

/// What operations need; shared by everything in the process.
#[derive(Clone)]
pub struct Context {
    /// The database.
    pub db: Database,
    /// Business time.
    pub clock: SharedClock,
    /// The sites.
    pub sites: Arc<Sites>,
    /// Calls to Billing.
    pub billing: PeerChannel,
    /// The product's name and addresses in mails.
    pub mail: Arc<MailSection>,
    /// How usage is taken, delivered and closed.
    pub usage: Arc<UsageSection>,
    /// Wakes the worker that resumes activations.
    pub resume: Arc<Notify>,
    /// What is counted.
    pub meters: Meters,
}

impl Context {
    /// The business time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The site of a code. Fails with `SITE_NOT_FOUND`.
    pub fn site(&self, code: &str) -> Result<&Site, Fault> {
        self.sites.get(code).ok_or(Fault::new(Reason::SiteNotFound))
    }
}
