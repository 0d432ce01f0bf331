//! Puts a service token on every call: one that was given, or fresh ones from the key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_service_kit::identity::{LIFETIME_SECS_MAX, Signer};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;

/// A token that is used here is made anew this long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// What the three services call themselves in tokens.
pub const AUDIENCES: [&str; 3] = ["console", "billing", "gateway"];

/// The source of tokens; cheap to clone.
#[derive(Clone)]
pub struct Bearer {
    source: Arc<Source>,
}

enum Source {
    Given(String),
    Signed { signer: Signer, last: Mutex<Option<(Instant, String)>> },
}

impl Bearer {
    /// Uses one token until it ends.
    pub fn given(token: impl Into<String>) -> Bearer {
        Bearer { source: Arc::new(Source::Given(token.into())) }
    }

    /// Makes tokens as they are needed.
    pub fn signed(signer: Signer) -> Bearer {
        Bearer { source: Arc::new(Source::Signed { signer, last: Mutex::new(None) }) }
    }

    /// A token that is good for at least a minute more, as far as this side can know.
    pub fn token(&self) -> String {
        match self.source.as_ref() {
            Source::Given(token) => token.clone(),
            Source::Signed { signer, last } => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let lifetime = Duration::from_secs(LIFETIME_SECS_MAX.unsigned_abs());
                match last.as_ref() {
                    Some((made, token)) if made.elapsed() + RENEW_BEFORE < lifetime => token.clone(),
                    _ => {
                        let token = signer.token_now(&AUDIENCES);
                        *last = Some((Instant::now(), token.clone()));
                        token
                    }
                }
            }
        }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        let value: MetadataValue<Ascii> = format!("Bearer {}", self.token())
            .parse()
            .map_err(|_| tonic::Status::unauthenticated("TANDEM_TOKEN holds characters no token has"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}
