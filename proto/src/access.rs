//! Who may call what, as the schema's method options say.

use crate::common::v1::Role;

/// One method of the schema.
#[derive(Debug, Clone, Copy)]
pub struct MethodAccess {
    /// The HTTP/2 path: `/package.Service/Method`.
    pub path: &'static str,
    /// The roles that may call it. Empty means nobody may, and a process that serves it refuses to start.
    pub roles: &'static [Role],
    /// Whether it changes anything, and so takes a `request_id`.
    pub changes: bool,
}

/// Every method of the schema.
pub const METHODS: &[MethodAccess] = include!(concat!(env!("OUT_DIR"), "/access.rs"));

/// The entry of one path.
pub fn of(path: &str) -> Option<&'static MethodAccess> {
    METHODS.iter().find(|method| method.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_names_its_callers() {
        assert!(!METHODS.is_empty());
        for method in METHODS {
            assert!(!method.roles.is_empty(), "{} may be called by nobody", method.path);
        }
    }
}
