//! What a command can end with besides success, and the exit code that says so.

use std::fmt::Write as _;

use serde_json::json;
use tandem_proto::reason::Reason;
use tandem_service_kit::config::ConfigError;
use tandem_service_kit::fault::Fault;
use tonic_types::StatusExt as _;

/// What a command's exit code says; `--help` lists the same.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the service, or failed here
  2  the command line is wrong
  3  a service could not be reached
  4  a proof failed: something stored differs from its recomputation";

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The service answered with an error.
    #[error("{}", refusal(.status))]
    Refused {
        /// The service's answer.
        status: Box<tonic::Status>,
        /// The request id the act was tried with, for acts that change something.
        request_id: Option<String>,
    },
    /// Nobody answered.
    #[error("{what} cannot be reached")]
    Unreachable {
        /// Who, and where.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A proof found a difference.
    #[error("the proof failed: {0}")]
    Proof(String),
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something failed on this machine.
    #[error("{what}")]
    Failed {
        /// What was attempted.
        what: String,
        /// Why it failed; `None` when `what` says it all.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// The result of a command or a part of one.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that needs no source.
    pub fn failed(what: impl Into<String>) -> Failure {
        Failure::Failed { what: what.into(), source: None }
    }

    /// A service's answer to an act that changes something, with the id to repeat it by.
    pub fn of_act(status: tonic::Status, request_id: &str) -> Failure {
        match Failure::from(status) {
            Failure::Refused { status, .. } => {
                Failure::Refused { status, request_id: Some(request_id.to_owned()) }
            }
            other => other,
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused { .. } | Failure::Failed { .. } => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable { .. } => 3,
            Failure::Proof(_) => 4,
        }
    }

    /// The reason the service named, when it named one of ours.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Failure::Refused { status, .. } => Fault::from_status(status).map(|fault| fault.reason),
            _ => None,
        }
    }

    /// One readable block for a person: what, why, which fields, and whether a retry helps.
    pub fn block(&self) -> String {
        let mut text = format!("error: {self}\n");
        match self {
            Failure::Refused { status, request_id } => describe(&mut text, status, request_id.as_deref()),
            Failure::Unreachable { .. } => {
                push(&mut text, "because", &last_cause(self));
                push(&mut text, "hint", "is it running? `tandem up` starts everything on this machine");
            }
            Failure::Proof(_) | Failure::Usage(_) | Failure::Failed { .. } => causes(&mut text, self),
        }
        text
    }

    /// The same for scripts.
    pub fn json(&self) -> serde_json::Value {
        let mut error = json!({ "exit_code": self.exit_code(), "message": self.to_string() });
        if let Failure::Refused { status, request_id } = self {
            error["code"] = json!(code_name(status.code()));
            error["request_id"] = json!(request_id);
            if let Some(fault) = Fault::from_status(status) {
                error["reason"] = json!(fault.reason.name());
                let fields = fault.fields.iter().map(|(f, m)| json!({ "field": f, "message": m }));
                error["fields"] = fields.collect();
                let details = fault.metadata.iter().map(|(k, v)| (k.clone(), json!(v)));
                error["details"] = serde_json::Value::Object(details.collect());
            }
            error["retry_after_seconds"] = json!(retry_after_secs(status));
        } else if std::error::Error::source(self).is_some() {
            error["cause"] = json!(last_cause(self));
        }
        json!({ "error": error })
    }
}

fn refusal(status: &tonic::Status) -> String {
    match Fault::from_status(status) {
        Some(fault) => fault.reason.meaning().to_owned(),
        None if status.message().is_empty() => code_name(status.code()).to_owned(),
        None => status.message().to_owned(),
    }
}

fn describe(text: &mut String, status: &tonic::Status, request_id: Option<&str>) {
    match Fault::from_status(status) {
        Some(fault) => {
            push(text, "reason", &format!("{} ({})", fault.reason.name(), code_name(status.code())));
            for (field, message) in &fault.fields {
                push(text, "field", &format!("{field}: {message}"));
            }
            for (key, value) in &fault.metadata {
                push(text, "detail", &format!("{key} = {value}"));
            }
            if fault.reason == Reason::TokenInvalid {
                push(
                    text,
                    "hint",
                    "tokens last 300 seconds; take TANDEM_TOKEN away to use the key under --data",
                );
            }
        }
        None => push(text, "code", code_name(status.code())),
    }
    let same_id = request_id.map(|id| format!(", with --request-id {id}")).unwrap_or_default();
    match retry_after_secs(status) {
        Some(secs) => push(text, "retry", &format!("may help after {secs} s{same_id}")),
        None if is_open(status) => push(text, "retry", &format!("the outcome is open: repeat it{same_id}")),
        None => push(text, "retry", "does not help before something has changed"),
    }
}

/// Whether the answer leaves open what happened (`reliability.md` 2.4).
fn is_open(status: &tonic::Status) -> bool {
    use tonic::Code;
    matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Unknown)
}

/// After how many seconds a retry may help; `None` when the answer does not say that it may.
pub fn retry_after_secs(status: &tonic::Status) -> Option<u64> {
    let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
    told.map(|delay| delay.as_secs().max(1))
}

fn causes(text: &mut String, failure: &Failure) {
    let mut next = std::error::Error::source(failure);
    while let Some(cause) = next {
        push(text, "because", &cause.to_string());
        next = cause.source();
    }
}

/// The cause behind all others: of a connection that failed, the only one that says anything.
fn last_cause(failure: &Failure) -> String {
    let causes = std::iter::successors(std::error::Error::source(failure), |cause| cause.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

fn push(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {name:<8} {value}");
}

/// The code's name as gRPC writes it.
fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Failure {
        // A status that was made here, because the connection failed, carries the transport's error as its source.
        let transport = std::error::Error::source(&status).is_some_and(|s| s.is::<tonic::transport::Error>());
        if transport && status.code() == tonic::Code::Unavailable {
            return Failure::Unreachable { what: "the service".to_owned(), source: Box::new(status) };
        }
        Failure::Refused { status: Box::new(status), request_id: None }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::failed(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed {
            what: error.to_string(),
            source: error.chain().nth(1).map(|cause| cause.to_string().into()),
        }
    }
}

/// Says what was attempted, as an error's first line.
pub trait Attempt<T> {
    /// Adds what was attempted to an error.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Failure::Failed { what: what(), source: Some(Box::new(source)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_reason_fields_and_retry_in_one_block() {
        let fault =
            Fault::new(Reason::PeerUnavailable).and_field("site", "is required").with("peer", "billing");
        let failure = Failure::of_act(fault.into(), "cli-1");
        let block = failure.block();
        for part in
            ["PEER_UNAVAILABLE (UNAVAILABLE)", "site: is required", "peer = billing", "--request-id cli-1"]
        {
            assert!(block.contains(part), "{block}");
        }
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(failure.json()["error"]["retry_after_seconds"], 2);
    }

    #[test]
    fn a_final_refusal_says_that_repeating_it_does_not_help() {
        let failure = Failure::from(tonic::Status::from(Fault::new(Reason::WorkspaceAlreadyBound)));
        assert!(failure.block().contains("does not help"), "{}", failure.block());
        assert_eq!(failure.json()["error"]["retry_after_seconds"], serde_json::Value::Null);
    }

    #[test]
    fn every_kind_has_its_exit_code() {
        let source = || Box::new(std::io::Error::other("refused"));
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Failure::Unreachable { what: String::new(), source: source() }.exit_code(), 3);
        assert_eq!(Failure::Proof(String::new()).exit_code(), 4);
    }
}
