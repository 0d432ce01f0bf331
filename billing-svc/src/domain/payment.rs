//! Payments that a provider announced, and whether they fit the recharge they name (`domain.md` 3.13, 5.5).

use jiff::Timestamp;
use tandem_proto::money::Money;
use tandem_proto::names;
use tandem_proto::payment::PaymentChannel;

names! {
    /// Where a payment stands.
    PaymentState: "booked, parked, dismissed";
    /// In a wallet.
    Booked = "booked";
    /// Waits for an operator; nothing is booked.
    Parked = "parked";
    /// An operator decided that nothing is booked.
    Dismissed = "dismissed";
}

names! {
    /// Why a payment does not fit.
    PaymentProblem: "recharge_unknown, recharge_closed, recharge_paid, amount_differs, currency_differs, channel_differs, reference_used";
    /// There is no such recharge.
    RechargeUnknown = "recharge_unknown";
    /// The recharge was given up before.
    RechargeClosed = "recharge_closed";
    /// The recharge was paid by another payment.
    RechargePaid = "recharge_paid";
    /// Another amount.
    AmountDiffers = "amount_differs";
    /// Another currency.
    CurrencyDiffers = "currency_differs";
    /// The recharge waits for money on another channel.
    ChannelDiffers = "channel_differs";
    /// The payment's number is the reference of another recharge.
    ReferenceUsed = "reference_used";
}

/// A payment as its provider announced it. The currency may be one that nobody here uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The channel it came through.
    pub channel: PaymentChannel,
    /// The provider's number of it.
    pub external_ref: String,
    /// The number of the order that was paid.
    pub order_id: String,
    /// What was paid, in minor units.
    pub minor: i64,
    /// The ISO 4217 code of the currency.
    pub currency: String,
    /// When it was paid.
    pub paid_at: Timestamp,
}

/// Where the recharge stands that a payment names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Waits for its money.
    Waiting,
    /// Was paid, with this reference.
    Paid(&'a str),
    /// Was given up.
    Closed,
}

/// The recharge that a payment names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// What it waits for.
    pub amount: Money,
    /// How it is paid online; `None` when it is not.
    pub channel: Option<PaymentChannel>,
    /// Where it stands.
    pub standing: Standing<'a>,
}

/// What becomes of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It pays its recharge.
    Book,
    /// Its recharge was booked with this very payment.
    AlreadyBooked,
    /// It does not fit; a person decides.
    Park(PaymentProblem),
}

/// Decides what becomes of a payment. Only one that fits its recharge in every respect is ever booked by itself.
pub fn judge(expected: Option<Expected<'_>>, announced: &Announced) -> Verdict {
    let Some(expected) = expected else { return Verdict::Park(PaymentProblem::RechargeUnknown) };
    if expected.channel != Some(announced.channel) {
        return Verdict::Park(PaymentProblem::ChannelDiffers);
    }
    if expected.amount.currency.code() != announced.currency {
        return Verdict::Park(PaymentProblem::CurrencyDiffers);
    }
    if expected.amount.minor != announced.minor {
        return Verdict::Park(PaymentProblem::AmountDiffers);
    }
    match expected.standing {
        Standing::Waiting => Verdict::Book,
        Standing::Paid(reference) if reference == announced.external_ref => Verdict::AlreadyBooked,
        Standing::Paid(_) => Verdict::Park(PaymentProblem::RechargePaid),
        Standing::Closed => Verdict::Park(PaymentProblem::RechargeClosed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tandem_proto::money::Currency;

    use super::*;

    const ALIPAY: PaymentChannel = PaymentChannel::Alipay;

    fn announced(minor: i64, currency: &str, reference: &str) -> Announced {
        Announced {
            channel: ALIPAY,
            external_ref: reference.to_owned(),
            order_id: "rch_1".to_owned(),
            minor,
            currency: currency.to_owned(),
            paid_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn expected(minor: i64, standing: Standing<'_>) -> Expected<'_> {
        Expected { amount: Money { minor, currency: Currency::Cny }, channel: Some(ALIPAY), standing }
    }

    #[test]
    fn each_problem_has_its_name() {
        use PaymentProblem as Problem;
        let fits = announced(100, "CNY", "p1");
        let verdict = |standing| judge(Some(expected(100, standing)), &fits);
        assert_eq!(verdict(Standing::Waiting), Verdict::Book);
        assert_eq!(verdict(Standing::Paid("p1")), Verdict::AlreadyBooked);
        assert_eq!(verdict(Standing::Paid("p0")), Verdict::Park(Problem::RechargePaid));
        assert_eq!(verdict(Standing::Closed), Verdict::Park(Problem::RechargeClosed));
        assert_eq!(judge(None, &fits), Verdict::Park(Problem::RechargeUnknown));
        let waiting = expected(100, Standing::Waiting);
        let transfer = Expected { channel: None, ..waiting };
        assert_eq!(judge(Some(transfer), &fits), Verdict::Park(Problem::ChannelDiffers));
        for (minor, currency, problem) in [
            (101, "CNY", Problem::AmountDiffers),
            (100, "USD", Problem::CurrencyDiffers),
            (100, "EUR", Problem::CurrencyDiffers),
            (1, "EUR", Problem::CurrencyDiffers),
        ] {
            assert_eq!(judge(Some(waiting), &announced(minor, currency, "p1")), Verdict::Park(problem));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn only_a_waiting_recharge_of_the_same_amount_is_booked(
            asked in 1_i64..1_000, paid in 1_i64..1_000,
            currency in proptest::sample::select(vec!["CNY", "USD", "EUR"]),
            standing in proptest::sample::select(vec![
                Standing::Waiting, Standing::Closed, Standing::Paid("p1"), Standing::Paid("p2"),
            ]),
        ) {
            let verdict = judge(Some(expected(asked, standing)), &announced(paid, currency, "p1"));
            let fits = asked == paid && currency == "CNY";
            prop_assert_eq!(verdict == Verdict::Book, fits && standing == Standing::Waiting);
            prop_assert_eq!(verdict == Verdict::AlreadyBooked, fits && standing == Standing::Paid("p1"));
        }
    }
}
