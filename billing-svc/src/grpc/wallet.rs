//! `billing.v1.WalletService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::wallet_service_server::WalletService;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{Currency, Money};
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::convert_wallet::{
    amount, entry_message, last_day, lot_message, min_spend, new_lot_message, recharge_message,
    wished_recharge_state,
};
use crate::context::Context;
use crate::domain::wallet::LotKind;
use crate::ops::create_online_recharge::{self, Wanted};
use crate::ops::issue_voucher_codes::{self, Terms};
use crate::ops::wallet_acts::{Act, Done};
use crate::ops::{create_recharge, prove_ledger, wallet_lane};
use crate::store::ledger::Range;
use crate::store::lot::{self, Filter};
use crate::store::recharge::{self, Recharge, RechargeChannel};
use crate::store::{account, ledger};

/// Most codes made in one call.
const CODES_MAX: usize = 1_000;
/// Longest note.
const NOTE_CHARS_MAX: usize = 200;

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
        let wallet = lot::wallet(db, &account).await?;
        let money = |minor| Some(Money { minor, currency }.to_message());
        Ok(Response::new(pb::GetWalletResponse {
            cash: money(wallet.total(LotKind::Cash)),
            overdraft: money(wallet.overdraft()),
            prepaid_cards: money(wallet.total(LotKind::PrepaidCard)),
            general_vouchers: money(wallet.total(LotKind::GeneralVoucher)),
            discount_vouchers: money(wallet.total(LotKind::DiscountVoucher)),
        }))
    }

    async fn list_lots(
        &self,
        request: Request<pb::ListLotsRequest>,
    ) -> Result<Response<pb::ListLotsResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let kind = match pb::LotKind::try_from(request.kind) {
            Ok(pb::LotKind::Unspecified) => None,
            Ok(pb::LotKind::GeneralVoucher) => Some(LotKind::GeneralVoucher),
            Ok(pb::LotKind::DiscountVoucher) => Some(LotKind::DiscountVoucher),
            Ok(pb::LotKind::PrepaidCard) => Some(LotKind::PrepaidCard),
            Ok(pb::LotKind::Cash) => Some(LotKind::Cash),
            Err(_) => return Err(Fault::field("kind", "must be a value of LotKind").into()),
        };
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let filter = Filter { kind, with_closed: request.with_closed };
        let rows = lot::list(&self.0.db.read, &account, filter, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |row| vec![row.lot.id.clone()]);
        let now = self.0.clock.now();
        let lots = rows.iter().map(|row| lot_message(row, now)).collect();
        Ok(Response::new(pb::ListLotsResponse { lots, next_page_token }))
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
        let amount = amount("amount", request.amount.as_ref())?;
        let channel = match pb::RechargeChannel::try_from(request.channel) {
            Ok(pb::RechargeChannel::BankTransfer) => RechargeChannel::BankTransfer,
            Ok(pb::RechargeChannel::Alipay) => RechargeChannel::Alipay,
            Ok(pb::RechargeChannel::Unspecified) | Err(_) => {
                let right = "must be RECHARGE_CHANNEL_ALIPAY or RECHARGE_CHANNEL_BANK_TRANSFER";
                return Err(Fault::field("channel", right).into());
            }
        };
        let answer =
            |recharge: &Recharge| pb::CreateRechargeResponse { recharge: Some(recharge_message(recharge)) };
        if let Some(channel) = channel.online() {
            let wanted = Wanted { account, amount, channel, buys_card: request.buys_card };
            let made = create_online_recharge::create_online_recharge(&self.0, key, &wanted, answer);
            return Ok(Response::new(made.await?));
        }
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let recharge =
            create_recharge::create_recharge(&pending.tx, &account, amount, channel, request.buys_card, now)
                .await?;
        Ok(Response::new(pending.finish(answer(&recharge), now).await?))
    }

    async fn list_recharges(
        &self,
        request: Request<pb::ListRechargesRequest>,
    ) -> Result<Response<pb::ListRechargesResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let state = wished_recharge_state(request.state)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let rows = recharge::list(&self.0.db.read, &account, state, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |r| vec![r.id.as_str().to_owned()]);
        let recharges = rows.iter().map(recharge_message).collect();
        Ok(Response::new(pb::ListRechargesResponse { recharges, next_page_token }))
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
        let act = Act::ConfirmRecharge { id, external_ref: external_ref.to_owned() };
        self.act(account, key, act, |done| match done {
            Done::Recharged { recharge, cash, overdraft } => {
                let money = |minor| Some(Money { minor, currency: recharge.amount.currency }.to_message());
                Some(pb::ConfirmRechargeResponse {
                    recharge: Some(recharge_message(recharge)),
                    cash: money(*cash),
                    overdraft: money(*overdraft),
                })
            }
            Done::Card { .. } | Done::Voucher(_) | Done::Packages(_) => None,
        })
        .await
    }

    async fn grant_voucher(
        &self,
        request: Request<pb::GrantVoucherRequest>,
    ) -> Result<Response<pb::GrantVoucherResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.WalletService/GrantVoucher",
            &request.request_id,
            &request,
        )?;
        let account: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
        let found = account::find(&self.0.db.read, &account).await?;
        let region = found.ok_or(Fault::not_found("billing_account_id"))?.region;
        let now = self.0.clock.now();
        let face = amount("face_value", request.face_value.as_ref())?;
        let valid_from = match request.valid_from_time {
            Some(time) => validate::timestamp("valid_from_time", Some(time))?,
            None => now,
        };
        let act = Act::GrantVoucher {
            face,
            min_spend: min_spend(request.min_spend.as_ref(), face)?,
            valid_from,
            last_day: last_day(&request.last_day, region, now)?,
            note: validate::text("note", &request.note, NOTE_CHARS_MAX)?.to_owned(),
        };
        self.act(account, key, act, |done| match done {
            Done::Voucher(voucher) => {
                Some(pb::GrantVoucherResponse { voucher: Some(new_lot_message(voucher)) })
            }
            Done::Recharged { .. } | Done::Card { .. } | Done::Packages(_) => None,
        })
        .await
    }

    async fn issue_voucher_codes(
        &self,
        request: Request<pb::IssueVoucherCodesRequest>,
    ) -> Result<Response<pb::IssueVoucherCodesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.WalletService/IssueVoucherCodes",
            &request.request_id,
            &request,
        )?;
        let now = self.0.clock.now();
        let face = amount("face_value", request.face_value.as_ref())?;
        let count = usize::try_from(request.count).ok().filter(|count| (1..=CODES_MAX).contains(count));
        let count = count.ok_or_else(|| Fault::field("count", format!("must be 1 to {CODES_MAX}")))?;
        // A code is for the region that starts with its currency.
        let region = match face.currency {
            Currency::Cny => BillingRegion::Domestic,
            Currency::Usd => BillingRegion::International,
        };
        let terms = Terms {
            face,
            min_spend: min_spend(request.min_spend.as_ref(), face)?,
            last_day: last_day(&request.last_day, region, now)?,
            note: validate::text("note", &request.note, NOTE_CHARS_MAX)?.to_owned(),
        };
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let codes = issue_voucher_codes::issue_voucher_codes(&pending.tx, &terms, count, now).await?;
        Ok(Response::new(pending.finish(pb::IssueVoucherCodesResponse { codes }, now).await?))
    }

    async fn activate_voucher(
        &self,
        request: Request<pb::ActivateVoucherRequest>,
    ) -> Result<Response<pb::ActivateVoucherResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.WalletService/ActivateVoucher",
            &request.request_id,
            &request,
        )?;
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let code = validate::required("code", &request.code)?;
        let act = Act::ActivateVoucher { code_digest: issue_voucher_codes::digest(code) };
        self.act(account, key, act, |done| match done {
            Done::Voucher(voucher) => {
                Some(pb::ActivateVoucherResponse { voucher: Some(new_lot_message(voucher)) })
            }
            Done::Recharged { .. } | Done::Card { .. } | Done::Packages(_) => None,
        })
        .await
    }

    async fn buy_prepaid_card(
        &self,
        request: Request<pb::BuyPrepaidCardRequest>,
    ) -> Result<Response<pb::BuyPrepaidCardResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.WalletService/BuyPrepaidCard",
            &request.request_id,
            &request,
        )?;
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let face = amount("face_value", request.face_value.as_ref())?;
        if !crate::domain::card::is_sold(face) {
            let right = "must be a multiple of 100 whole units, such as 10000";
            return Err(Fault::field("face_value.minor_units", right).into());
        }
        self.act(account, key, Act::BuyCard { face }, |done| match done {
            Done::Card { card, discount } => Some(pb::BuyPrepaidCardResponse {
                card: Some(new_lot_message(card)),
                discount_voucher: discount.as_ref().map(new_lot_message),
            }),
            Done::Recharged { .. } | Done::Voucher(_) | Done::Packages(_) => None,
        })
        .await
    }

    async fn list_ledger_entries(
        &self,
        request: Request<pb::ListLedgerEntriesRequest>,
    ) -> Result<Response<pb::ListLedgerEntriesResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 3)?;
        let bound = |field, time: Option<prost_types::Timestamp>, missing| match time {
            Some(time) => validate::timestamp(field, Some(time)),
            None => Ok(missing),
        };
        let range = Range {
            from: bound("start_time", request.start_time, jiff::Timestamp::UNIX_EPOCH)?,
            until: bound("end_time", request.end_time, jiff::Timestamp::MAX)?,
            customers_only: request.customers_only,
        };
        if range.from >= range.until {
            return Err(Fault::field("end_time", "must be after start_time").into());
        }
        let rows = ledger::entries(&self.0.db.read, &account, range, &page.after, page.limit()).await?;
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

impl Service {
    /// Makes an act on an account's wallet, with others' that come at the same time.
    async fn act<R: prost::Message + Default + 'static>(
        &self,
        account: BillingAccountId,
        key: RequestKey,
        act: Act,
        answer: fn(&Done) -> Option<R>,
    ) -> Result<Response<R>, Status> {
        let encode = move |done: &Done| answer(done).unwrap_or_default().encode_to_vec();
        let reply = wallet_lane::act(&self.0, account, key, act, Box::new(encode)).await?;
        let reply = R::decode(reply.as_slice())
            .map_err(|_| Fault::from(StoreError::Corrupt { table: "request_log", column: "reply" }))?;
        Ok(Response::new(reply))
    }
}
