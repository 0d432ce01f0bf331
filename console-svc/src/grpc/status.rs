//! What a refusal by the rules is called on the wire.

use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use crate::domain::member::MemberError;
use crate::domain::retention::RetentionError;

impl From<MemberError> for Fault {
    fn from(error: MemberError) -> Fault {
        Fault::new(match error {
            MemberError::NotOwner => Reason::NotOwner,
            MemberError::NotAdministrator => Reason::NotAdministrator,
            MemberError::OwnerRequired => Reason::OwnerRequired,
        })
    }
}

impl From<RetentionError> for Fault {
    fn from(error: RetentionError) -> Fault {
        match error {
            RetentionError::Fixed => Fault::new(Reason::RetentionFixed),
            RetentionError::NotByRetention => {
                Fault::field("item", "must be an item that is priced by retention")
            }
            RetentionError::NoSuchChoice => {
                Fault::field("retention_days", "must be one of the item's choices")
            }
        }
    }
}
