//! Makes codes that become vouchers once (`domain.md` 3.14).

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tandem_proto::day::UsageDay;
use tandem_proto::money::Money;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::{self, fresh};

use crate::store::voucher_code::{self, VoucherCode};

/// Characters of a code: 80 random bits, five a character, without those that look alike. Nobody guesses one.
const LENGTH: usize = 16;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What codes are worth.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What each is worth.
    pub face: Money,
    /// The least payable of a bill it pays.
    pub min_spend: i64,
    /// The last day to activate it, and the last usage day whose bill it pays.
    pub last_day: UsageDay,
    /// What for.
    pub note: String,
}

/// Makes codes and stores their digests; the texts are in the answer alone.
pub async fn issue_voucher_codes(
    tx: &Tx,
    terms: &Terms,
    count: usize,
    now: Timestamp,
) -> Result<Vec<String>, Fault> {
    let codes: Vec<String> = (0..count).map(|_| new_code()).collect();
    let stored = |code: &String| VoucherCode {
        id: fresh(),
        digest: digest(code),
        face: terms.face,
        min_spend: terms.min_spend,
        last_day: terms.last_day,
        note: terms.note.clone(),
        issued_at: now,
        activated_at: None,
    };
    voucher_code::insert(tx, &codes.iter().map(stored).collect::<Vec<_>>()).await?;
    Ok(codes)
}

/// The digest a code is found by; case, blanks and hyphens do not matter.
pub fn digest(code: &str) -> String {
    let compared: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    hex::encode(Sha256::digest(compared))
}

fn new_code() -> String {
    let bytes = fresh::random_bytes::<LENGTH>();
    let characters: Vec<char> =
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let groups: Vec<String> = characters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = new_code();
        assert_eq!(code.len(), LENGTH + 3);
        assert_eq!(digest(&code), digest(&code.to_lowercase().replace('-', " ")));
        assert_ne!(digest(&code), digest(&new_code()));
    }
}
