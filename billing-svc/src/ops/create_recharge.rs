//! Announces a recharge (`domain.md` 3.13).

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Money;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use crate::domain::card;
use crate::domain::recharge::expires_at;
use crate::store::account;
use crate::store::recharge::{self, Recharge, RechargeChannel, RechargeState};

/// Announces a recharge in the account's currency; its money arrives with the confirmation, as cash or as a prepaid card
/// of that worth.
pub async fn create_recharge(
    tx: &Tx,
    account: &BillingAccountId,
    amount: Money,
    channel: RechargeChannel,
    buys_card: bool,
    now: Timestamp,
) -> Result<Recharge, Fault> {
    if amount.minor <= 0 {
        return Err(Fault::field("amount.minor_units", "must be above 0"));
    }
    if buys_card && !card::is_sold(amount) {
        return Err(Fault::field(
            "amount.minor_units",
            "must be a multiple of 100 whole units, such as 10000",
        ));
    }
    let payer = account::find(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    if payer.currency != amount.currency {
        return Err(Fault::new(Reason::CurrencyMismatch).with("currency", payer.currency.code()));
    }
    let recharge = Recharge {
        id: fresh(),
        billing_account: account.clone(),
        amount,
        channel,
        state: RechargeState::Created,
        buys_card,
        external_ref: None,
        created_at: now,
        paid_at: None,
        payment_url: None,
        expires_at: Some(expires_at(channel.online().is_some(), now)),
        closed_at: None,
    };
    recharge::insert(tx, &recharge).await?;
    Ok(recharge)
}
