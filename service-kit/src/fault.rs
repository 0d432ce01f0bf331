//! Why a call failed, and how that is told over gRPC: one reason from one list, with the rich error details.

use std::time::Duration;

use tandem_proto::reason::{Code, Reason, Retry};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `google.rpc.ErrorInfo` that Tandem sends.
pub const DOMAIN: &str = "tandem";

/// A failed call: a reason, the fields that are wrong, and details that help the caller.
///
/// Texts are fixed or name fields; they never hold SQL, paths, secrets or personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// Each wrong field and what would be right.
    pub fields: Vec<(String, String)>,
    /// Further details, sent as `ErrorInfo.metadata`.
    pub metadata: Vec<(String, String)>,
}

impl Fault {
    /// Makes a fault without details.
    pub fn new(reason: Reason) -> Fault {
        Fault { reason, fields: Vec::new(), metadata: Vec::new() }
    }

    /// Makes an [`Reason::InvalidField`] fault: which field, and what would be right.
    pub fn field(name: impl Into<String>, what_would_be_right: impl Into<String>) -> Fault {
        Fault::new(Reason::InvalidField).and_field(name, what_would_be_right)
    }

    /// Makes an [`Reason::ObjectNotFound`] fault: the field that names what does not exist.
    pub fn not_found(field: impl Into<String>) -> Fault {
        Fault::new(Reason::ObjectNotFound).and_field(field, "names nothing that exists here")
    }

    /// Adds a wrong field.
    #[must_use]
    pub fn and_field(mut self, name: impl Into<String>, what_would_be_right: impl Into<String>) -> Fault {
        self.fields.push((name.into(), what_would_be_right.into()));
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Fault {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// Reads a peer's answer back; `None` when it carries no reason of ours.
    pub fn from_status(status: &tonic::Status) -> Option<Fault> {
        let details = status.check_error_details().ok()?;
        let info = details.error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        let reason = *Reason::ALL.iter().find(|reason| reason.name() == info.reason)?;
        let mut metadata: Vec<_> = info.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        metadata.sort();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let fields = violations.iter().map(|v| (v.field.clone(), v.description.clone())).collect();
        Some(Fault { reason, fields, metadata })
    }

    fn message(&self) -> String {
        let mut text = self.reason.meaning().to_owned();
        for (index, (name, right)) in self.fields.iter().enumerate() {
            text.push_str(if index == 0 { " " } else { "; " });
            text.push_str(name);
            text.push_str(": ");
            text.push_str(right);
        }
        text
    }
}

/// The reason a peer's answer carries.
pub fn reason_of(status: &tonic::Status) -> Option<Reason> {
    Fault::from_status(status).map(|fault| fault.reason)
}

/// The gRPC code of a reason's code.
pub fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::Internal => tonic::Code::Internal,
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Fault {
        Fault::new(reason)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason.name(), self.message())
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for tonic::Status {
    fn from(fault: Fault) -> tonic::Status {
        let message = fault.message();
        let metadata: std::collections::HashMap<String, String> = fault.metadata.into_iter().collect();
        let mut details = ErrorDetails::with_error_info(fault.reason.name(), DOMAIN, metadata);
        for (name, right) in fault.fields {
            details.add_bad_request_violation(name, right);
        }
        match fault.reason.retry() {
            Retry::Never => {}
            Retry::AfterSecs(secs) => {
                details.set_retry_info(Some(Duration::from_secs(u64::from(secs))));
            }
        }
        tonic::Status::with_error_details(grpc_code(fault.reason.code()), message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for reason in Reason::ALL {
            let fault =
                Fault::new(*reason).and_field("name", "at most 64 characters").with("item", "TRIGGER");
            let status = tonic::Status::from(fault.clone());
            assert_eq!(status.code(), grpc_code(reason.code()));
            assert_eq!(Fault::from_status(&status), Some(fault));
            let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
            assert_eq!(wait.is_some(), reason.retry() != Retry::Never, "{}", reason.name());
        }
    }

    #[test]
    fn a_foreign_error_has_no_reason_of_ours() {
        assert_eq!(reason_of(&tonic::Status::internal("x")), None);
        let details =
            ErrorDetails::with_error_info("CONFLICT", "elsewhere", std::collections::HashMap::new());
        assert_eq!(reason_of(&tonic::Status::with_error_details(tonic::Code::Aborted, "x", details)), None);
    }

    #[test]
    fn the_message_names_the_fields() {
        let fault = Fault::field("email", "must be an address").and_field("name", "is required");
        assert!(fault.message().ends_with("email: must be an address; name: is required"));
    }
}
