//! Members of a workspace and what they may change (`domain.md` 2.3).

use jiff::Timestamp;
use tandem_proto::ids::ConsoleAccountId;

use super::workspace::numbered;

numbered! {
    /// What a member may do.
    Role {
        /// Everything; exactly one member is it.
        Owner = 1, "OWNER";
        /// Manages members, sees billing, sets alerts.
        Administrator = 2, "ADMINISTRATOR";
        /// Works with data.
        Standard = 3, "STANDARD";
        /// Looks at data.
        ReadOnly = 4, "READ_ONLY";
        /// Looks at data and sees plans and bills.
        Finance = 5, "FINANCE";
    }
}

/// A Console account's part in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Whose.
    pub account_id: ConsoleAccountId,
    /// What it may do.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
}

/// Why a change of members is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Only the owner may do this.
    #[error("only the owner may do this")]
    NotOwner,
    /// Only the owner or an administrator may do this.
    #[error("only the owner or an administrator may do this")]
    NotAdministrator,
    /// A workspace always has exactly one owner.
    #[error("the workspace would have no owner")]
    OwnerRequired,
}

/// What changes when a member gets another role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleChange {
    /// Only that member's role.
    Role,
    /// The member becomes the owner, and the old owner an administrator.
    HandOver,
    /// Nothing: the member has the role already.
    Nothing,
}

/// Whether somebody may manage members.
pub fn may_manage(acting: Role) -> Result<(), MemberError> {
    match acting {
        Role::Owner | Role::Administrator => Ok(()),
        Role::Standard | Role::ReadOnly | Role::Finance => Err(MemberError::NotAdministrator),
    }
}

/// Decides what giving `member` the role `wanted` changes.
pub fn set_role(acting: Role, member: Role, wanted: Role) -> Result<RoleChange, MemberError> {
    may_manage(acting)?;
    if wanted == Role::Owner && acting != Role::Owner {
        return Err(MemberError::NotOwner);
    }
    match (member, wanted) {
        (old, new) if old == new => Ok(RoleChange::Nothing),
        (Role::Owner, _) => Err(MemberError::OwnerRequired),
        (_, Role::Owner) => Ok(RoleChange::HandOver),
        (_, _) => Ok(RoleChange::Role),
    }
}

/// Decides whether a member may be removed; members may remove themselves.
pub fn remove(acting: Role, member: Role, is_self: bool) -> Result<(), MemberError> {
    if !is_self {
        may_manage(acting)?;
    }
    if member == Role::Owner { Err(MemberError::OwnerRequired) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Role; 5] = [Role::Owner, Role::Administrator, Role::Standard, Role::ReadOnly, Role::Finance];

    #[test]
    fn only_an_owner_hands_over_and_no_change_leaves_the_workspace_without_one() {
        for acting in ALL {
            for member in ALL {
                for wanted in ALL {
                    let change = set_role(acting, member, wanted);
                    if change == Ok(RoleChange::HandOver) {
                        assert!(acting == Role::Owner && member != Role::Owner && wanted == Role::Owner);
                    }
                    if member == Role::Owner && wanted != Role::Owner {
                        assert!(change.is_err());
                    }
                    assert_eq!(may_manage(acting).is_err(), change == Err(MemberError::NotAdministrator));
                }
                assert!(
                    remove(acting, member, false).is_ok()
                        == (may_manage(acting).is_ok() && member != Role::Owner)
                );
            }
        }
        assert_eq!(set_role(Role::Administrator, Role::Standard, Role::Owner), Err(MemberError::NotOwner));
        assert_eq!(remove(Role::Standard, Role::Standard, true), Ok(()));
        assert_eq!(remove(Role::Owner, Role::Owner, true), Err(MemberError::OwnerRequired));
    }
}
