//! Passwords: the policy (`domain.md` D19) and argon2id hashes.

use std::sync::LazyLock;
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tandem_proto::reason::Reason;
use tokio::sync::Semaphore;

use crate::fault::Fault;
use crate::fresh::random_bytes;

/// Shortest password (`domain.md` D19).
const CHARS_MIN: usize = 8;
/// Longest password: far above what people type, so that nobody can make us hash a book.
const CHARS_MAX: usize = 128;
/// How many of the four classes a password needs (`domain.md` D19).
const CLASSES_MIN: usize = 3;
/// Memory of one hash in KiB, passes and lanes: OWASP's recommendation for argon2id.
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// How long a call waits for its turn to hash before it is told to come back.
const TURN_MAX: Duration = Duration::from_secs(2);

/// As many hashes at a time as there are processors: each takes 19 MiB and a processor for some 20 ms.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)));

/// A hash that no password has, so that a sign-in to an unknown account costs what one to a known account costs.
static DUMMY: LazyLock<Option<String>> =
    LazyLock::new(|| make(&SecretString::from(crate::fresh::random_token())).ok());

/// Checks the policy: 8 to 128 characters of at least 3 of 4 classes (`domain.md` D19).
pub fn check_policy(password: &str) -> Result<(), Fault> {
    let count = password.chars().count();
    let classes = [
        password.chars().any(char::is_lowercase),
        password.chars().any(char::is_uppercase),
        password.chars().any(char::is_numeric),
        password.chars().any(|c| !c.is_alphanumeric()),
    ];
    let fits = (CHARS_MIN..=CHARS_MAX).contains(&count) && !password.chars().any(char::is_control);
    if !fits || classes.iter().filter(|class| **class).count() < CLASSES_MIN {
        let right =
            "8–128 characters, of at least 3 of: small letters, capital letters, digits, other characters";
        return Err(Fault::field("password", right));
    }
    Ok(())
}

/// Hashes a password as a PHC string, off the runtime's threads.
pub async fn hash(password: SecretString) -> Result<String, Fault> {
    in_turn(move || make(&password)).await?.map_err(|error| {
        tracing::error!(error = %error, "a password could not be hashed");
        Fault::new(Reason::Internal)
    })
}

/// Checks a password against a stored hash.
///
/// Fails with `INTERNAL` when the stored text is no hash of ours, and with `OVERLOADED` when too many hash at once.
pub async fn verify(phc: &str, password: SecretString) -> Result<bool, Fault> {
    let phc = phc.to_owned();
    in_turn(move || {
        let parsed = PasswordHash::new(&phc)?;
        match hasher()?.verify_password(password.expose_secret().as_bytes(), &parsed) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::Password) => Ok(false),
            Err(error) => Err(error),
        }
    })
    .await?
    .map_err(|error: argon2::password_hash::Error| {
        tracing::error!(error = %error, "a stored password hash cannot be checked");
        Fault::new(Reason::Internal)
    })
}

/// Does the work of [`verify`] for an account that does not exist; always `false`.
pub async fn verify_dummy(password: SecretString) -> Result<bool, Fault> {
    // Made once, inside the work, because making it is as dear as checking.
    let phc = in_turn(|| DUMMY.clone()).await?.ok_or(Fault::new(Reason::Internal))?;
    verify(&phc, password).await.map(|_| false)
}

async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let turn = tokio::time::timeout(TURN_MAX, TURNS.acquire()).await;
    let Ok(Ok(turn)) = turn else { return Err(Fault::new(Reason::Overloaded)) };
    let result = tokio::task::spawn_blocking(move || {
        // Held by the thread, so that a caller who left does not let another in beside the work it started.
        let _turn = turn;
        work()
    });
    result.await.map_err(|error| {
        tracing::error!(error = %error, "password work did not finish");
        Fault::new(Reason::Internal)
    })
}

fn hasher() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let (memory, passes, lanes) = COST;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, passes, lanes, None)?))
}

fn make(password: &SecretString) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(&random_bytes::<16>())?;
    Ok(hasher()?.hash_password(password.expose_secret().as_bytes(), &salt)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::secret;

    #[test]
    fn the_policy_wants_length_and_three_classes() {
        for good in ["abcdeF1!", "abcdefG1", "密码密码abC1", "aB3-aB3-aB3-"] {
            assert!(check_policy(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "aB3!xyz",
            "abcdefgh",
            "abcdefg1",
            "ABCDEFG1",
            "12345678!",
            &format!("aB1{}", "x".repeat(126)),
        ] {
            assert!(check_policy(bad).is_err(), "{bad}");
        }
        assert_eq!(check_policy("short").unwrap_err().fields[0].0, "password");
    }

    #[tokio::test]
    async fn only_the_right_password_is_accepted() {
        let phc = hash(secret("correct horse 1 Battery")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, hash(secret("correct horse 1 Battery")).await.unwrap());
        assert!(verify(&phc, secret("correct horse 1 Battery")).await.unwrap());
        assert!(!verify(&phc, secret("correct horse 1 battery")).await.unwrap());
        assert!(!verify_dummy(secret("correct horse 1 Battery")).await.unwrap());
        assert_eq!(verify("nonsense", secret("x")).await.unwrap_err().reason, Reason::Internal);
    }
}
