//! How long a recharge waits for its money (`domain.md` 3.13, 5.5: CREATED → CLOSED). The documents name no time.

use jiff::{SignedDuration, Timestamp};

/// How long the page of a recharge that is paid online takes the payment.
pub const PAGE_VALID: SignedDuration = SignedDuration::from_hours(3 * 24);
/// How long a bank transfer is waited for: banks take days, and holidays come in between.
pub const TRANSFER_VALID: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long after its page's end a recharge is closed: a payment in the last minute may be announced a little later.
pub const CLOSE_GRACE: SignedDuration = SignedDuration::from_hours(1);
/// When the provider is asked for the first time: by then a notice that was going to come has come.
pub const FIRST_CHECK: SignedDuration = SignedDuration::from_mins(10);
/// How often the provider is asked (`reliability.md` 3.5).
pub const CHECK_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Until when a recharge waits for its money.
pub fn expires_at(online: bool, created_at: Timestamp) -> Timestamp {
    let valid = if online { PAGE_VALID } else { TRANSFER_VALID };
    created_at.saturating_add(valid).unwrap_or(created_at)
}

/// When a recharge may be closed, if its money has not come.
pub fn closes_at(online: bool, expires_at: Timestamp) -> Timestamp {
    if online { expires_at.saturating_add(CLOSE_GRACE).unwrap_or(expires_at) } else { expires_at }
}

/// When to look at a recharge for the first time.
pub fn first_check(online: bool, created_at: Timestamp) -> Timestamp {
    match online {
        true => created_at.saturating_add(FIRST_CHECK).unwrap_or(created_at),
        false => expires_at(false, created_at),
    }
}

/// When to look at a recharge again that was looked at now: hourly, and at its end.
pub fn next_check(online: bool, expires_at: Timestamp, now: Timestamp) -> Timestamp {
    let (end, later) = (closes_at(online, expires_at), now.saturating_add(CHECK_EVERY).unwrap_or(now));
    if end > now { later.min(end) } else { later }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recharge_is_looked_at_at_least_hourly_and_right_at_its_end() {
        let created: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let expires = expires_at(true, created);
        let (mut now, mut looks) = (first_check(true, created), vec![]);
        while now < closes_at(true, expires) {
            looks.push(now);
            let next = next_check(true, expires, now);
            assert!(next > now && next.duration_since(now) <= CHECK_EVERY);
            now = next;
        }
        assert_eq!(now, closes_at(true, expires), "the last look is the one that may close it");
        assert_eq!(looks.len(), 73);
        // A provider that does not answer then is asked again, for as long as it takes.
        assert_eq!(next_check(true, expires, now), now + CHECK_EVERY);
    }

    #[test]
    fn a_transfer_is_looked_at_only_at_its_end() {
        let created: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        assert_eq!(first_check(false, created), closes_at(false, expires_at(false, created)));
    }
}
