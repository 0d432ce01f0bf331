//! `billing.v1.WalletService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::wallet_service_server::WalletService;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Money;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate::{self, to_message};
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::domain::ledger::{Account, AccountKind};
use crate::ops::{confirm_recharge, create_recharge, prove_ledger};
use crate::store::recharge::{Recharge, RechargeChannel, RechargeState};
use crate::store::{account, ledger};

/// Serves balances.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl WalletService for Service {
    async fn get_wallet(
        &self,
        request: Request<pb::GetWalletRequest>,
    ) -> Result<Response<pb::GetWalletResponse>, Status> {
        let account: BillingAccountId =
            validate::parse("billing_account_id", &request.into_inner().billing_account_id)?;
        let db = &self.0.db.read;
        let found = account::find(db, &account).await?;
        let currency = found.ok_or(Fault::not_found("billing_account_id"))?.currency;
        let wallets = ledger::wallets(db, std::slice::from_ref(&account)).await?;
        let wallet = wallets.get(&account).copied().unwrap_or_default();
        let money = |minor| Some(Money { minor, currency }.to_message());
        Ok(Response::new(pb::GetWalletResponse {
            cash: money(wallet.cash),
            overdraft: money(wallet.overdraft),
        }))
    }

    async fn create_recharge(
        &self,
        request: Request<pb::CreateRechargeRequest>,
    ) -> Result<Response<pb::CreateRechargeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.WalletService/CreateRecharge",
            &request.request_id,
            &request,
        )?;
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let amount = request.amount.as_ref().and_then(Money::from_message);
        let amount = amount.ok_or_else(|| {
            Fault::field("amount", "must be minor units with a currency_code of CNY or USD")
        })?;
        let channel = match pb::RechargeChannel::try_from(request.channel) {
            Ok(pb::RechargeChannel::BankTransfer) => RechargeChannel::BankTransfer,
            Ok(pb::RechargeChannel::Unspecified) | Err(_) => {
                return Err(Fault::field("channel", "must be RECHARGE_CHANNEL_BANK_TRANSFER").into());
            }
        };
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let recharge = create_recharge::create_recharge(&pending.tx, &account, amount, channel, now).await?;
        let response = pb::CreateRechargeResponse { recharge: Some(recharge_message(&recharge)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn confirm_recharge(
        &self,
        request: Request<pb::ConfirmRechargeRequest>,
    ) -> Result<Response<pb::ConfirmRechargeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.WalletService/ConfirmRecharge",
            &request.request_id,
            &request,
        )?;
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let id = validate::parse("recharge_id", &request.recharge_id)?;
        let external_ref = validate::required("external_ref", &request.external_ref)?;
        let external_ref = validate::text("external_ref", external_ref, 128)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let (recharge, wallet) =
            confirm_recharge::confirm_recharge(&pending.tx, &self.0, &account, &id, external_ref, now)
                .await?;
        let money = |minor| Some(Money { minor, currency: recharge.amount.currency }.to_message());
        let response = pb::ConfirmRechargeResponse {
            recharge: Some(recharge_message(&recharge)),
            cash: money(wallet.cash),
            overdraft: money(wallet.overdraft),
        };
        let response = pending.finish(response, now).await?;
        self.0.wakes.feed.notify_one();
        Ok(Response::new(response))
    }

    async fn list_ledger_entries(
        &self,
        request: Request<pb::ListLedgerEntriesRequest>,
    ) -> Result<Response<pb::ListLedgerEntriesResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 3)?;
        let rows = ledger::entries(&self.0.db.read, &account, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |e| {
            vec![e.entered_at.as_microsecond().to_string(), e.transfer_id.clone(), e.account.clone()]
        });
        let entries = rows.iter().map(entry_message).collect();
        Ok(Response::new(pb::ListLedgerEntriesResponse { entries, next_page_token }))
    }

    async fn prove_ledger(
        &self,
        request: Request<pb::ProveLedgerRequest>,
    ) -> Result<Response<pb::ProveLedgerResponse>, Status> {
        let account = super::optional("billing_account_id", &request.into_inner().billing_account_id)?;
        let proof = prove_ledger::prove_ledger(&self.0.db, account.as_ref()).await?;
        let difference = |d: prove_ledger::Difference| pb::LedgerDifference {
            subject: d.subject,
            stored: d.stored,
            recomputed: d.recomputed,
        };
        Ok(Response::new(pb::ProveLedgerResponse {
            entry_count: proof.entries,
            sums: proof.sums.iter().map(|sum| sum.to_message()).collect(),
            differences: proof.differences.into_iter().map(difference).collect(),
        }))
    }
}

fn recharge_message(r: &Recharge) -> pb::Recharge {
    pb::Recharge {
        id: r.id.as_str().to_owned(),
        billing_account_id: r.billing_account.as_str().to_owned(),
        amount: Some(r.amount.to_message()),
        channel: match r.channel {
            RechargeChannel::BankTransfer => pb::RechargeChannel::BankTransfer,
        }
        .into(),
        state: match r.state {
            RechargeState::Created => pb::RechargeState::Created,
            RechargeState::Paid => pb::RechargeState::Paid,
            RechargeState::Closed => pb::RechargeState::Closed,
        }
        .into(),
        external_ref: r.external_ref.clone().unwrap_or_default(),
        create_time: Some(to_message(r.created_at)),
        pay_time: r.paid_at.map(to_message),
    }
}

fn entry_message(e: &ledger::Entry) -> pb::LedgerEntry {
    let kind = Account::parse(&e.account).map_or(pb::LedgerAccountKind::Unspecified, |account| match account
        .kind()
    {
        AccountKind::Cash => pb::LedgerAccountKind::Cash,
        AccountKind::Overdraft => pb::LedgerAccountKind::Overdraft,
        AccountKind::Revenue => pb::LedgerAccountKind::Revenue,
        AccountKind::Funding => pb::LedgerAccountKind::Funding,
        AccountKind::CloudClearing => pb::LedgerAccountKind::CloudClearing,
    });
    pb::LedgerEntry {
        transfer_id: e.transfer_id.clone(),
        account: kind.into(),
        amount: Some(e.amount.to_message()),
        balance_after: Some(e.balance_after.to_message()),
        entry_time: Some(to_message(e.entered_at)),
        cause: e.cause.clone(),
        cause_id: e.cause_id.clone(),
    }
}
