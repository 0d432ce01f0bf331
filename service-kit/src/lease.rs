//! Claims that end by themselves: the numbers every queue-like table shares (`reliability.md` 3.3 and 3.4).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::fresh::{fresh_uuid, jittered};

/// How long a claim holds unless it is renewed. A dead worker's work is taken over after this.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a worker renews its claims: three times within a lease, so that one lost renewal does no harm.
pub const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Tries before something is quarantined.
pub const TRIES_MAX: i32 = 10;
/// The longest wait between two tries.
const BACKOFF_MAX_SECS: u64 = 3600;

/// Makes a name for one claim. A write-back checks it, so that a worker whose claim ran out cannot undo its successor's
/// work; hence one name per claim, not per process.
pub fn claim_token() -> String {
    fresh_uuid().simple().to_string()
}

/// When a claim made now runs out.
pub fn until(now: Timestamp) -> Timestamp {
    after(now, LEASE)
}

/// The time a span after `now`.
pub fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// How long to wait after so many failed tries: 1 s, 3 s, 9 s… up to an hour, spread over the upper half.
///
/// Ten tries last at least an hour and a half, so that an ordinary outage of a receiver quarantines nothing.
pub fn backoff(tries: i32) -> Duration {
    let exponent = u32::try_from(tries.saturating_sub(1)).unwrap_or(0);
    let secs = 3_u64.checked_pow(exponent).unwrap_or(BACKOFF_MAX_SECS).min(BACKOFF_MAX_SECS);
    jittered(Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_an_hour_and_no_further() {
        assert!(backoff(1) <= Duration::from_secs(1) && backoff(1) >= Duration::from_millis(500));
        assert!(backoff(3) <= Duration::from_secs(9) && backoff(3) >= Duration::from_millis(4500));
        for tries in [9, 10, 100, i32::MAX] {
            assert!(
                (Duration::from_secs(1800)..=Duration::from_secs(3600)).contains(&backoff(tries)),
                "{tries}"
            );
        }
    }
}
