//! What happens to a customer's wallet on somebody's call: money comes in, a card or a package is bought, a voucher is
//! given.
//!
//! Several acts on one account are made in one transaction, one after the other: a busy account's callers are gathered
//! (`wallet_lane`), and each is told its own outcome.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{PrepaidCardId, RechargeId, VoucherId};
use tandem_proto::money::Money;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use super::package_acts::{self, Ordered, PackageAct, Shelf};
use super::repay::{self, Inflow};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::card;
use crate::domain::deduction::{self, Instrument};
use crate::domain::ledger::{Account, Cause, CauseKind, Transfer};
use crate::domain::wallet::{Due, Lot, LotKind, MONEY, Purchase, Wallet};
use crate::store::ledger::{self, Posting};
use crate::store::lot::{self, NewLot};
use crate::store::recharge::{self, Recharge, RechargeState};
use crate::store::voucher_code::{self, VoucherCode};

/// What somebody asks for.
#[derive(Debug, Clone)]
pub enum Act {
    /// A recharge was paid.
    ConfirmRecharge {
        /// Which.
        id: RechargeId,
        /// The payment's reference; books once.
        external_ref: String,
    },
    /// Buy a prepaid card from cash.
    BuyCard {
        /// What it is worth.
        face: Money,
    },
    /// Give a general voucher.
    GrantVoucher {
        /// What it is worth.
        face: Money,
        /// The least payable of a bill it pays.
        min_spend: i64,
        /// From when on it pays.
        valid_from: Timestamp,
        /// The last usage day whose bill it pays.
        last_day: UsageDay,
        /// Why.
        note: String,
    },
    /// Turn a code into a voucher.
    ActivateVoucher {
        /// The code's digest.
        code_digest: String,
    },
    /// Buy or upgrade packages.
    Package(PackageAct),
}

/// What was done.
#[derive(Debug, Clone)]
pub enum Done {
    /// The recharge is booked.
    Recharged {
        /// It.
        recharge: Recharge,
        /// Cash after it.
        cash: i64,
        /// What is still owed; zero or below.
        overdraft: i64,
    },
    /// The account has a new card, and perhaps a voucher that came with it.
    Card {
        /// The card.
        card: NewLot,
        /// The voucher.
        discount: Option<NewLot>,
    },
    /// The account has a new voucher.
    Voucher(NewLot),
    /// The account has new packages.
    Packages(Ordered),
}

/// What acts are decided by, and what they leave to be written.
struct Book {
    payer: BillingAccount,
    wallet: Wallet,
    recharges: HashMap<RechargeId, Recharge>,
    used_refs: HashSet<String>,
    codes: HashMap<String, VoucherCode>,
    lots: Vec<NewLot>,
    transfers: Vec<Transfer>,
    inflows: Vec<Inflow>,
    paid: Vec<Recharge>,
    activated: Vec<String>,
    shelf: Shelf,
    now: Timestamp,
}

/// Makes acts on one account in their order; each has its own outcome, and a refused one changes nothing. The account
/// must be locked.
///
/// Fails as a whole with a conflict that a repetition may not meet.
pub async fn apply(
    tx: &Tx,
    ctx: &Context,
    payer: BillingAccount,
    acts: &[Act],
    now: Timestamp,
) -> Result<Vec<Result<Done, Fault>>, Fault> {
    let mut book = open(tx, payer, acts, now).await?;
    let outcomes = acts.iter().map(|act| book.act(act)).collect();
    close(tx, ctx, book).await?;
    Ok(outcomes)
}

async fn open(tx: &Tx, payer: BillingAccount, acts: &[Act], now: Timestamp) -> Result<Book, StoreError> {
    let (mut ids, mut refs, mut digests, mut packages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for act in acts {
        match act {
            Act::ConfirmRecharge { id, external_ref } => {
                ids.push(id.clone());
                refs.push(external_ref.clone());
            }
            Act::ActivateVoucher { code_digest } => digests.push(code_digest.clone()),
            Act::Package(act) => packages.push(act),
            Act::BuyCard { .. } | Act::GrantVoucher { .. } => {}
        }
    }
    // Only orders of packages are paid by anything; an account may hold very many cards and vouchers.
    let kinds = if packages.is_empty() { MONEY } else { LotKind::ALL };
    let wallet = lot::wallet_of(tx, &payer.id, kinds).await?;
    let (mut recharges, mut used_refs) = (HashMap::new(), HashSet::new());
    if !ids.is_empty() {
        let found = recharge::lock_all(tx, &payer.id, &ids).await?;
        recharges = found.into_iter().map(|r| (r.id.clone(), r)).collect();
        used_refs = recharge::used_references(tx, &refs).await?;
    }
    let mut codes = HashMap::new();
    if !digests.is_empty() {
        codes = voucher_code::lock_all(tx, &digests).await?;
    }
    let shelf = package_acts::open(tx, &payer, &packages, now).await?;
    Ok(Book {
        payer,
        wallet,
        recharges,
        used_refs,
        codes,
        lots: Vec::new(),
        transfers: Vec::new(),
        inflows: Vec::new(),
        paid: Vec::new(),
        activated: Vec::new(),
        shelf,
        now,
    })
}

/// Writes what the acts left, each kind of thing in one statement.
async fn close(tx: &Tx, ctx: &Context, book: Book) -> Result<(), Fault> {
    let Book { payer, wallet, lots, transfers, inflows, paid, activated, shelf, now, .. } = book;
    let posting =
        |transfer| Posting { billing_account: payer.id.clone(), currency: payer.currency, transfer };
    let postings: Vec<Posting> = transfers.into_iter().map(posting).collect();
    recharge::set_paid(tx, &paid).await?;
    voucher_code::set_activated(tx, &activated, &payer.id, now).await?;
    lot::insert(tx, &lots).await?;
    ledger::post(tx, &postings, now).await?;
    package_acts::close(tx, ctx, &payer, shelf, now).await?;
    if !inflows.is_empty() {
        repay::repay_bills(tx, &payer.id, inflows, now).await?;
        repay::end_arrears(tx, ctx, payer, wallet.overdraft(), now).await?;
    }
    Ok(())
}

impl Book {
    fn act(&mut self, act: &Act) -> Result<Done, Fault> {
        match act {
            Act::ConfirmRecharge { id, external_ref } => self.confirm_recharge(id, external_ref),
            Act::BuyCard { face } => self.buy_card(*face),
            Act::GrantVoucher { face, min_spend, valid_from, last_day, note } => {
                self.own_currency(*face)?;
                let voucher = Lot {
                    kind: LotKind::GeneralVoucher,
                    id: String::from(fresh::<VoucherId>()),
                    balance: face.minor,
                    opened_at: self.now,
                    valid_from: *valid_from,
                    last_day: Some(*last_day),
                    min_spend: *min_spend,
                };
                self.give_voucher(voucher, note.clone()).map(Done::Voucher)
            }
            Act::ActivateVoucher { code_digest } => self.activate(code_digest),
            Act::Package(act) => {
                let (ordered, paid) = self.shelf.act(&self.payer, &mut self.wallet, act, self.now)?;
                self.transfers.extend(paid);
                Ok(Done::Packages(ordered))
            }
        }
    }

    fn confirm_recharge(&mut self, id: &RechargeId, external_ref: &str) -> Result<Done, Fault> {
        let found = self.recharges.get(id).ok_or(Fault::not_found("recharge_id"))?;
        if found.state != RechargeState::Created {
            return Err(Reason::RechargeNotOpen.into());
        }
        self.own_currency(found.amount)?;
        if self.used_refs.contains(external_ref) {
            return Err(Reason::ExternalRefUsed.into());
        }
        let recharge = Recharge {
            state: RechargeState::Paid,
            external_ref: Some(external_ref.to_owned()),
            paid_at: Some(self.now),
            ..found.clone()
        };
        let cause = Cause::new(CauseKind::Recharge, id.as_str());
        if recharge.buys_card {
            let card = self.new_card(recharge.amount, id.as_str());
            self.take_in(&card, |lot| {
                deduction::inflow(cause, Account::Funding, lot.kind, &lot.id, lot.balance).ok()
            })?;
            self.bring_discount(&card)?;
            self.lots.push(card);
        } else {
            let cash = self.new_lot(LotKind::Cash, id.as_str().to_owned(), recharge.amount, None);
            self.take_in(&cash, |lot| {
                deduction::inflow(cause, Account::Funding, lot.kind, &lot.id, lot.balance).ok()
            })?;
            self.lots.push(cash);
        }
        self.used_refs.insert(external_ref.to_owned());
        self.recharges.insert(id.clone(), recharge.clone());
        self.paid.push(recharge.clone());
        let (cash, overdraft) = (self.wallet.total(LotKind::Cash), self.wallet.overdraft());
        Ok(Done::Recharged { recharge, cash, overdraft })
    }

    fn buy_card(&mut self, face: Money) -> Result<Done, Fault> {
        self.own_currency(face)?;
        let due = Due { restricted: 0, ordinary: face.minor };
        let day = card::today(self.payer.region, self.now);
        let what = Purchase { due, total: face.minor, day, now: self.now };
        let parts = self.wallet.pay_in_full(MONEY, what).ok_or(Reason::BalanceInsufficient)?;
        let card = self.new_card(face, "cash");
        self.take_in(&card, |lot| deduction::card(&lot.id, &parts).ok())?;
        let discount = self.bring_discount(&card)?;
        self.lots.push(card.clone());
        Ok(Done::Card { card, discount })
    }

    fn activate(&mut self, code_digest: &str) -> Result<Done, Fault> {
        let code = self.codes.get(code_digest).ok_or(Reason::VoucherCodeUnknown)?.clone();
        if code.activated_at.is_some() {
            return Err(Reason::VoucherCodeUsed.into());
        }
        if code.last_day < card::today(self.payer.region, self.now) {
            return Err(Reason::VoucherCodeExpired.into());
        }
        self.own_currency(code.face)?;
        let mut voucher = self
            .new_lot(
                LotKind::GeneralVoucher,
                String::from(fresh::<VoucherId>()),
                code.face,
                Some(code.last_day),
            )
            .lot;
        voucher.min_spend = code.min_spend;
        let given = self.give_voucher(voucher, code.id.as_str().to_owned())?;
        self.activated.push(code_digest.to_owned());
        let used = VoucherCode { activated_at: Some(self.now), ..code };
        self.codes.insert(code_digest.to_owned(), used);
        Ok(Done::Voucher(given))
    }

    /// Puts a lot into the wallet, where it repays debt, and notes the transfers of both.
    fn take_in(
        &mut self,
        new: &NewLot,
        transfer: impl FnOnce(&Lot) -> Option<Transfer>,
    ) -> Result<(), Fault> {
        let lot = &new.lot;
        let transfer = transfer(lot).ok_or_else(overflow)?;
        let repaid = self.wallet.take_in(lot.clone()).map_err(|_| overflow())?;
        self.transfers.push(transfer);
        if repaid > 0 {
            let transfer = deduction::repayment(lot.kind, &lot.id, repaid).map_err(|_| overflow())?;
            self.inflows.push(Inflow {
                transfer_id: transfer.cause.transfer_id(),
                lot: lot.id.clone(),
                instrument: Instrument::from(lot.kind),
                repaid,
            });
            self.transfers.push(transfer);
        }
        Ok(())
    }

    fn give_voucher(&mut self, voucher: Lot, origin: String) -> Result<NewLot, Fault> {
        let cause = Cause::new(CauseKind::Voucher, voucher.id.as_str());
        let transfer =
            deduction::inflow(cause, Account::Promotion, voucher.kind, &voucher.id, voucher.balance);
        let transfer = transfer.map_err(|_| overflow())?;
        self.wallet.add(voucher.clone()).map_err(|_| overflow())?;
        self.transfers.push(transfer);
        let face = Money { minor: voucher.balance, currency: self.payer.currency };
        let new = NewLot { billing_account: self.payer.id.clone(), lot: voucher, face, origin };
        self.lots.push(new.clone());
        Ok(new)
    }

    /// The voucher that comes with a card, if one does.
    fn bring_discount(&mut self, card: &NewLot) -> Result<Option<NewLot>, Fault> {
        let Some(worth) = card::discount(card.face) else { return Ok(None) };
        let id = String::from(fresh::<VoucherId>());
        let voucher = self.new_lot(LotKind::DiscountVoucher, id, worth, card.lot.last_day).lot;
        self.give_voucher(voucher, card.lot.id.clone()).map(Some)
    }

    fn new_card(&self, face: Money, origin: &str) -> NewLot {
        let last_day = card::last_day(self.payer.region, self.now);
        let id = String::from(fresh::<PrepaidCardId>());
        NewLot { origin: origin.to_owned(), ..self.new_lot(LotKind::PrepaidCard, id, face, Some(last_day)) }
    }

    fn new_lot(&self, kind: LotKind, id: String, face: Money, last_day: Option<UsageDay>) -> NewLot {
        let lot = Lot {
            kind,
            id,
            balance: face.minor,
            opened_at: self.now,
            valid_from: self.now,
            last_day,
            min_spend: 0,
        };
        NewLot { billing_account: self.payer.id.clone(), lot, face, origin: String::new() }
    }

    fn own_currency(&self, amount: Money) -> Result<(), Fault> {
        let own = self.payer.currency;
        if amount.currency == own {
            return Ok(());
        }
        Err(Fault::new(Reason::CurrencyMismatch).with("currency", own.code()))
    }
}

fn overflow() -> Fault {
    StoreError::Corrupt { table: "ledger_account", column: "balance" }.into()
}
