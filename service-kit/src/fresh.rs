//! Chance: new identifiers, codes and tokens. The only place that makes any.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use tandem_proto::ids::Id;
use uuid::Uuid;

/// Makes a new identifier; later ones of this process sort after earlier ones.
pub fn fresh<T: Id>() -> T {
    T::from_uuid(fresh_uuid())
}

/// Makes a new UUIDv7.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes identifiers")]
pub fn fresh_uuid() -> Uuid {
    Uuid::now_v7()
}

/// Makes `n` random decimal digits, each equally likely, for codes that people type.
pub fn random_digits(n: usize) -> String {
    let mut digits = String::with_capacity(n);
    while digits.len() < n {
        for byte in random_bytes::<32>() {
            // 250 is the greatest multiple of ten in a byte: what lies above would favour the low digits.
            if byte < 250 && digits.len() < n {
                digits.push(char::from(b'0' + byte % 10));
            }
        }
    }
    digits
}

/// Makes a token that cannot be guessed: 256 random bits as URL-safe text.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

/// Fills an array with random bytes.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // The kernel's generator does not fail once a system is up; two UUIDs' worth of guessable bits would be worse
        // than stopping, so the process stops.
        tracing::error!("the system has no randomness");
        std::process::abort();
    }
    bytes
}

/// Spreads a waiting time over its upper half, so that many waiters do not come back at once.
pub fn jittered(wait: std::time::Duration) -> std::time::Duration {
    let half = wait / 2;
    let share = u32::from(u16::from_le_bytes(random_bytes::<2>()));
    half + half * share / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<tandem_proto::ids::OutboxId> = (0..1000).map(|_| fresh()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn digits_are_digits_and_evenly_spread() {
        let digits = random_digits(100_000);
        assert_eq!(digits.len(), 100_000);
        for digit in '0'..='9' {
            let count = digits.chars().filter(|c| *c == digit).count();
            assert!((9_000..11_000).contains(&count), "{digit} came {count} times");
        }
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        for _ in 0..1000 {
            let wait = jittered(Duration::from_secs(10));
            assert!((Duration::from_secs(5)..=Duration::from_secs(10)).contains(&wait), "{wait:?}");
        }
        assert_eq!(random_token().len(), 43);
    }
}
