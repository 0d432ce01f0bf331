//! Why something was not done. Texts are fixed: no value of a delivery, address or secret stands in them.

/// Why a delivery's sender is not proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No proof was sent.
    #[error("the delivery carries no proof of its sender")]
    MissingProof,
    /// The proof is not the one our keys give.
    #[error("the proof does not fit the delivery")]
    WrongProof,
    /// Genuine perhaps, but too old or from the future.
    #[error("the delivery is outside its time window")]
    Stale,
    /// Its form allows more than one reading, so it is not even checked.
    #[error("the delivery is malformed: {0}")]
    Malformed(&'static str),
    /// This vendor does not call with this method.
    #[error("this method is not one the vendor uses")]
    MethodNotAllowed,
}

impl AuthError {
    /// One word for metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            AuthError::MissingProof => "missing_proof",
            AuthError::WrongProof => "wrong_proof",
            AuthError::Stale => "stale",
            AuthError::Malformed(_) => "malformed",
            AuthError::MethodNotAllowed => "method_not_allowed",
        }
    }
}

/// Why a proved delivery has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A field that must be there is not.
    #[error("the field {field} is missing")]
    MissingField {
        /// The vendor's name of the field.
        field: &'static str,
    },
    /// A field has a form it cannot have.
    #[error("the field {field} is malformed")]
    BadField {
        /// The vendor's name of the field.
        field: &'static str,
    },
    /// The product is not among those configured: configure it, the vendor calls again.
    #[error("the product {product_code} is not configured")]
    UnknownProduct {
        /// The vendor's product code.
        product_code: String,
    },
    /// The plan is not among those configured: configure it, the vendor calls again.
    #[error("the plan {plan} is not configured")]
    UnknownPlan {
        /// The vendor's name of the plan.
        plan: String,
    },
}

/// What is wrong with ids that a customer typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdProblem {
    /// The account id is a sub-user's or a login name.
    #[error("this looks like a sub-user's id; type the account ID of the main account, {hint}")]
    MainAccountRequired {
        /// What a main account's id looks like and where it is found.
        hint: &'static str,
    },
    /// The account id cannot be one of this vendor's.
    #[error("this is no account ID of this cloud; {hint}")]
    BadAccount {
        /// What an account id looks like and where it is found.
        hint: &'static str,
    },
    /// The instance id cannot be one of this vendor's.
    #[error("this is no instance ID of this cloud; {hint}")]
    BadInstance {
        /// What an instance id looks like and where it is found.
        hint: &'static str,
    },
}

/// Why a vendor did not give an answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered, or the vendor said to come later. Says nothing about what was asked.
    #[error("the vendor is not available ({code})")]
    Unavailable {
        /// The vendor's code, or ours for a failure on the way.
        code: String,
    },
    /// The vendor refuses us: key, signature, clock or rights. Somebody has to look.
    #[error("the vendor refuses our credentials or rights ({code})")]
    Denied {
        /// The vendor's code.
        code: String,
    },
    /// An answer came that means nothing to us.
    #[error("the vendor's answer was not understood ({what})")]
    Unclear {
        /// Which part of the answer.
        what: &'static str,
    },
}

/// Why a vendor's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The vendor has no adapter yet.
    #[error("there is no adapter for this vendor yet")]
    VendorNotBuilt,
    /// The vendor has an adapter, but not for this market.
    #[error("there is no adapter for this market yet")]
    MarketNotBuilt,
    /// The settings do not fit the vendor's schema.
    #[error("settings: {0}")]
    Settings(String),
    /// A secret that must be there is not.
    #[error("the secret {0} is missing")]
    MissingSecret(&'static str),
    /// A secret that this vendor has no use for: most likely a misspelt name.
    #[error("the secret {0} is not one of this vendor's")]
    UnknownSecret(String),
    /// A secret is too short or a sample value.
    #[error("the secret {name} is {problem}")]
    WeakSecret {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value is not allowed.
    #[error("{field}: {problem}")]
    Value {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The outbound HTTP client could not be built.
    #[error("the outbound HTTP client could not be built")]
    HttpClient,
}
