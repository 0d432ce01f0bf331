//! Whether a company is who it says (`domain.md` 2.4, 5.5): NONE → PENDING → VERIFIED | REJECTED.

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::names;
use tandem_proto::settlement::BillingRegion;

names! {
    /// Where a verification stands; an account that handed nothing in has none.
    VerificationState: "pending, verified, rejected";
    /// Waits for an operator.
    Pending = "pending";
    /// The company is who it says.
    Verified = "verified";
    /// Refused; may be handed in anew.
    Rejected = "rejected";
}

/// A company that was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Whose.
    pub billing_account: BillingAccountId,
    /// The how manieth time, from 1.
    pub number: i32,
    /// Where it stands.
    pub state: VerificationState,
    /// The company's registered name.
    pub company_name: String,
    /// Its taxpayer ID.
    pub taxpayer_id: String,
    /// When it was handed in.
    pub submitted_at: Timestamp,
    /// When it was decided last; `None` exactly while it waits.
    pub decided_at: Option<Timestamp>,
    /// Why it was decided so; may be empty when verified.
    pub reason: String,
}

/// What an operator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The company is who it says.
    Verify,
    /// It is not, or not any more.
    Reject,
}

/// Why something cannot be done: the state is one it does not apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOpen(pub VerificationState);

/// The number of the next time a company is handed in.
///
/// Fails while one waits or is verified (`domain.md` 5.5).
pub fn next_number(last: Option<&Verification>) -> Result<i32, NotOpen> {
    match last {
        None => Ok(1),
        Some(v) if v.state == VerificationState::Rejected => Ok(v.number + 1),
        Some(v) => Err(NotOpen(v.state)),
    }
}

/// The state after a decision.
///
/// A verified company may be rejected later: names change, and what was verified by mistake must be correctable.
pub fn decide(state: VerificationState, decision: Decision) -> Result<VerificationState, NotOpen> {
    match (state, decision) {
        (VerificationState::Pending, Decision::Verify) => Ok(VerificationState::Verified),
        (VerificationState::Pending | VerificationState::Verified, Decision::Reject) => {
            Ok(VerificationState::Rejected)
        }
        (state, _) => Err(NotOpen(state)),
    }
}

/// A taxpayer ID in its stored spelling: capital letters. Only length and characters are looked at, as everywhere
/// that an operator checks the rest; `Err` says what would be right.
pub fn taxpayer_id(region: BillingRegion, text: &str) -> Result<String, &'static str> {
    let id = text.trim().to_ascii_uppercase();
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric());
    match region {
        BillingRegion::Domestic if plain && matches!(id.len(), 15 | 18 | 20) => Ok(id),
        BillingRegion::Domestic => Err("must be 15, 18 or 20 letters and digits"),
        BillingRegion::International => {
            let known = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if known && (6..=32).contains(&id.len()) {
                Ok(id)
            } else {
                Err("must be 6 to 32 letters, digits and hyphens")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tandem_proto::ids::Id as _;

    use super::*;

    fn handed_in(state: VerificationState) -> Verification {
        Verification {
            billing_account: BillingAccountId::from_uuid(uuid::Uuid::from_u128(1)),
            number: 4,
            state,
            company_name: "ACME".into(),
            taxpayer_id: "91310000MA1K4B0X2P".into(),
            submitted_at: Timestamp::UNIX_EPOCH,
            decided_at: None,
            reason: String::new(),
        }
    }

    #[test]
    fn only_the_listed_steps_are_taken() {
        use VerificationState::{Pending, Rejected, Verified};
        assert_eq!(next_number(None), Ok(1));
        assert_eq!(next_number(Some(&handed_in(Rejected))), Ok(5));
        assert_eq!(next_number(Some(&handed_in(Pending))), Err(NotOpen(Pending)));
        assert_eq!(next_number(Some(&handed_in(Verified))), Err(NotOpen(Verified)));
        assert_eq!(decide(Pending, Decision::Verify), Ok(Verified));
        assert_eq!(decide(Pending, Decision::Reject), Ok(Rejected));
        assert_eq!(decide(Verified, Decision::Reject), Ok(Rejected));
        assert_eq!(decide(Verified, Decision::Verify), Err(NotOpen(Verified)));
        assert_eq!(decide(Rejected, Decision::Verify), Err(NotOpen(Rejected)));
        assert_eq!(decide(Rejected, Decision::Reject), Err(NotOpen(Rejected)));
    }

    #[test]
    fn taxpayer_ids_are_checked_by_length_and_characters() {
        let domestic = |text| taxpayer_id(BillingRegion::Domestic, text);
        assert_eq!(domestic(" 91310000ma1k4b0x2p ").as_deref(), Ok("91310000MA1K4B0X2P"));
        assert!(domestic("91310000MA1K4B0X2").is_err() && domestic("91310000-MA1K4B0X2").is_err());
        let abroad = |text| taxpayer_id(BillingRegion::International, text);
        assert_eq!(abroad("de-811907980").as_deref(), Ok("DE-811907980"));
        assert!(
            abroad("12345").is_err() && abroad("DE 811907980").is_err() && abroad("税号税号税号").is_err()
        );
    }
}
