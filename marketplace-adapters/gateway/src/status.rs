//! What a failure means to whoever waits: Billing's to a vendor or a buyer, a vendor's to Billing.

use tandem_adapters::delivery::Outcome;
use tandem_adapters::error::{ClientError, IdProblem};
use tandem_proto::reason::{Code, Reason};
use tandem_service_kit::fault::Fault;
use tonic::Status;
use tracing::{error, warn};

/// What Billing's failure means for a delivery. Only what Billing has decided is a refusal; after anything else the vendor
/// calls again.
pub(crate) fn outcome_of(status: &Status) -> Outcome {
    let Some(fault) = Fault::from_status(status) else {
        warn!(status = ?status.code(), "Billing did not answer: {:?}", status.code());
        return Outcome::Unavailable;
    };
    match fault.reason.code() {
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => {
            error!(reason = fault.reason.name(), fields = ?field_names(&fault), "Billing refused what a vendor announced");
            Outcome::Refused { reason: fault.reason.name().to_owned() }
        }
        Code::Aborted | Code::ResourceExhausted | Code::Unavailable => {
            warn!(reason = fault.reason.name(), "Billing cannot take it now: {}", fault.reason.name());
            Outcome::Unavailable
        }
        Code::Internal | Code::Unauthenticated | Code::PermissionDenied => {
            error!(reason = fault.reason.name(), "Billing does not take our calls: {}", fault.reason.name());
            Outcome::Unavailable
        }
    }
}

fn field_names(fault: &Fault) -> Vec<&str> {
    fault.fields.iter().map(|(name, _)| name.as_str()).collect()
}

/// What is wrong with ids that a customer typed.
pub(crate) fn id_fault(problem: IdProblem) -> Fault {
    let text = problem.to_string();
    match problem {
        IdProblem::MainAccountRequired { .. } => {
            Fault::new(Reason::MainAccountRequired).and_field("vendor_account_id", text)
        }
        IdProblem::BadAccount { .. } => Fault::field("vendor_account_id", text),
        IdProblem::BadInstance { .. } => Fault::field("vendor_instance_id", text),
    }
}

/// A vendor that did not give an answer that can be used: nothing was decided.
pub(crate) fn client_fault(error: &ClientError) -> Fault {
    let code = match error {
        ClientError::Unavailable { code } | ClientError::Denied { code } => code.as_str(),
        ClientError::Unclear { what } => what,
    };
    Fault::new(Reason::VendorUnavailable).with("vendor_code", code)
}

/// One word for metric labels.
pub(crate) fn client_error_name(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unavailable { .. } => "unavailable",
        ClientError::Denied { .. } => "denied",
        ClientError::Unclear { .. } => "unclear",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_decision_of_billing_is_a_refusal() {
        for reason in Reason::ALL {
            let outcome = outcome_of(&Fault::new(*reason).into());
            let decided = matches!(
                reason.code(),
                Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition
            );
            assert_eq!(matches!(outcome, Outcome::Refused { .. }), decided, "{}", reason.name());
        }
        for status in [
            Status::unavailable(""),
            Status::deadline_exceeded(""),
            Status::cancelled(""),
            Status::unknown(""),
        ] {
            assert_eq!(outcome_of(&status), Outcome::Unavailable);
        }
    }

    #[test]
    fn a_customer_is_told_what_to_type() {
        let fault = id_fault(IdProblem::MainAccountRequired { hint: "16 digits" });
        assert_eq!(fault.reason, Reason::MainAccountRequired);
        assert!(fault.fields[0].1.contains("16 digits"));
        assert_eq!(id_fault(IdProblem::BadInstance { hint: "" }).fields[0].0, "vendor_instance_id");
    }
}
