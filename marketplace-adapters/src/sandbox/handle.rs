//! Everything the sandbox can be told, as functions; the control addresses call the same ones.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::faults::{Awkward, COPIES_MAX, DeliverySettings, Fault, LetGo};
use super::state::{Notice, NoticeState, Order, RememberedUsage, SandboxPurchase, State, Status};
use super::{Clock, Dialect, SandboxConfig};
use crate::callback::{CallbackAction, CallbackError, CallbackFields};
use crate::error::ConfigError;
use crate::http::{HttpClient, Target};

/// Time for one try of a callback: the seller is asked to answer in three seconds.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the sandbox did not do something.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// What it is made of cannot be used.
    #[error("sandbox configuration")]
    Config(#[from] ConfigError),
    /// The state file cannot be read or written.
    #[error("sandbox state file")]
    Storage(#[source] std::io::Error),
    /// There is no such purchase.
    #[error("the sandbox has no such purchase")]
    NoPurchase,
    /// The product or plan is not on sale.
    #[error("the sandbox does not sell this product or plan")]
    NotOnSale,
    /// The purchase is closed; closed ones never come back.
    #[error("the purchase is closed")]
    Closed,
    /// The seller has not confirmed the purchase, so that nobody knows where its buyer lands.
    #[error("the purchase is not confirmed, so it has no landing address")]
    NotConfirmed,
    /// A callback lacks something.
    #[error("the callback cannot be made")]
    Callback(#[from] CallbackError),
    /// The callbacks were not all delivered in time.
    #[error("callbacks are still waiting")]
    NotSettled,
}

/// What is bought.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buy {
    /// Who buys.
    pub account_id: String,
    /// What; the first product on sale when it is left out.
    pub product_code: Option<String>,
    /// Which plan, by the vendor's name; the product's first one when it is left out.
    pub plan: Option<String>,
    /// Whether it is a trial.
    #[serde(default)]
    pub trial: bool,
    /// When it ends; pay-as-you-go when it is left out.
    pub expires_at: Option<Timestamp>,
}

struct Inner {
    config: SandboxConfig,
    dialect: Box<dyn Dialect>,
    now: Clock,
    state: Mutex<State>,
    changed: Notify,
    stop: watch::Sender<bool>,
    courier: HttpClient,
}

/// A handle to a running or ready sandbox; cheap to clone.
#[derive(Clone)]
pub struct SandboxHandle(Arc<Inner>);

impl SandboxHandle {
    pub(super) fn new(
        config: SandboxConfig,
        dialect: Box<dyn Dialect>,
        now: Clock,
    ) -> Result<Self, SandboxError> {
        let courier = HttpClient::new(&Target {
            base_url: config.callback_url.clone(),
            allow_insecure: true,
            timeout: CALLBACK_TIMEOUT,
        })?;
        let state = match &config.state_file {
            Some(path) if path.exists() => {
                let bytes = std::fs::read(path).map_err(SandboxError::Storage)?;
                serde_json::from_slice(&bytes).map_err(|e| SandboxError::Storage(e.into()))?
            }
            _ => State::default(),
        };
        let inner = Inner {
            config,
            dialect,
            now,
            state: Mutex::new(state),
            changed: Notify::new(),
            stop: watch::Sender::new(false),
            courier,
        };
        Ok(Self(Arc::new(inner)))
    }

    pub(super) fn dialect(&self) -> &dyn Dialect {
        &*self.0.dialect
    }

    pub(super) fn courier(&self) -> &HttpClient {
        &self.0.courier
    }

    pub(super) fn callback_spacing(&self) -> Duration {
        self.0.config.callback_spacing
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.0.now)()
    }

    pub(super) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.0.changed.notified()
    }

    pub(super) fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    pub(super) async fn stopped(&self) {
        // Fails only when the sender is gone, and it lives as long as this handle.
        let _ = self.0.stop.subscribe().wait_for(|stopped| *stopped).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state and saves it, whole, before anybody is told.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, SandboxError> {
        let mut state = self.lock();
        let result = act(&mut state);
        if let Some(path) = &self.0.config.state_file {
            let bytes = serde_json::to_vec(&*state).map_err(|e| SandboxError::Storage(e.into()))?;
            let next = path.with_extension("next");
            std::fs::write(&next, bytes)
                .and_then(|()| std::fs::rename(&next, path))
                .map_err(SandboxError::Storage)?;
        }
        drop(state);
        self.0.changed.notify_waiters();
        Ok(result)
    }

    /// Buys: makes an order and a purchase, and calls back until the seller confirms.
    pub fn buy(&self, buy: &Buy) -> Result<SandboxPurchase, SandboxError> {
        let (product_code, plan) = self.on_sale(buy.product_code.as_deref(), buy.plan.as_deref())?;
        let purchase = self.make(buy, product_code, plan, Status::Preparing, true)?;
        Ok(purchase)
    }

    fn on_sale(&self, product: Option<&str>, plan: Option<&str>) -> Result<(String, String), SandboxError> {
        let products = &self.0.config.products;
        let (code, goods) = match product {
            Some(code) => products.get_key_value(code),
            None => products.first_key_value(),
        }
        .ok_or(SandboxError::NotOnSale)?;
        let plan = match plan {
            Some(plan) => goods.plans.iter().find(|p| *p == plan),
            None => goods.plans.first(),
        };
        Ok((code.clone(), plan.ok_or(SandboxError::NotOnSale)?.clone()))
    }

    fn make(
        &self,
        buy: &Buy,
        product_code: String,
        plan: String,
        status: Status,
        announce: bool,
    ) -> Result<SandboxPurchase, SandboxError> {
        let now = self.now();
        self.change(|state| {
            let number = state.next_number();
            let order = Order {
                order_id: self.dialect().order_id(number),
                kind: if buy.trial { "TRIAL" } else { "NEW" }.to_owned(),
                refunded: false,
                paid_at: now,
            };
            let purchase = SandboxPurchase {
                instance_id: self.dialect().instance_id(number),
                account_id: buy.account_id.clone(),
                product_code,
                plan,
                trial: buy.trial,
                other_seller: false,
                status,
                bought_at: now,
                expires_at: buy.expires_at,
                stopped_at: matches!(status, Status::Frozen | Status::Closed).then_some(now),
                orders: vec![order],
                landing_url: None,
            };
            state.purchases.insert(purchase.instance_id.clone(), purchase.clone());
            if announce {
                state.notify(CallbackAction::Create, fields_of(&purchase));
            }
            purchase
        })
    }

    /// Makes a purchase that a careful seller turns down; no callback is sent.
    pub fn awkward(&self, kind: Awkward, account_id: &str) -> Result<SandboxPurchase, SandboxError> {
        let buy = Buy { account_id: account_id.to_owned(), ..Buy::default() };
        let (mut product, mut plan) = self.on_sale(None, None)?;
        if matches!(kind, Awkward::OtherProduct | Awkward::OtherSeller) {
            let (code, name) = self.dialect().other_product();
            (product, plan) = (code.to_owned(), name.to_owned());
        }
        let status = match kind {
            Awkward::Frozen => Status::Frozen,
            Awkward::Closed => Status::Closed,
            Awkward::Preparing => Status::Preparing,
            Awkward::OtherSeller | Awkward::OtherProduct | Awkward::Refunded | Awkward::Unannounced => {
                Status::Open
            }
        };
        let made = self.make(&buy, product, plan, status, false)?;
        self.change(|state| {
            let purchase = state.purchases.get_mut(&made.instance_id).ok_or(SandboxError::NoPurchase)?;
            purchase.other_seller = kind == Awkward::OtherSeller;
            if kind == Awkward::Refunded {
                purchase.orders.iter_mut().for_each(|order| order.refunded = true);
            }
            Ok(purchase.clone())
        })?
    }

    /// Renews, or settles overdue bills when no new end is given: the purchase is in use again.
    pub fn renew(
        &self,
        instance_id: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<SandboxPurchase, SandboxError> {
        let now = self.now();
        self.act(instance_id, CallbackAction::Renew, |purchase, fields, order_id| {
            purchase.status = Status::Open;
            purchase.stopped_at = None;
            purchase.expires_at = expires_at.or(purchase.expires_at);
            purchase.orders.push(Order {
                order_id: order_id.clone(),
                kind: "RENEW".into(),
                refunded: false,
                paid_at: now,
            });
            fields.order = Some(order_id);
            // Pay-as-you-go has no end; the vendor sends one all the same.
            fields.expires_at = purchase.expires_at.or_else(|| "2099-12-31T15:59:59Z".parse().ok());
        })
    }

    /// Changes the plan.
    pub fn upgrade(&self, instance_id: &str, plan: &str) -> Result<SandboxPurchase, SandboxError> {
        let now = self.now();
        self.act(instance_id, CallbackAction::Upgrade, |purchase, fields, order_id| {
            purchase.plan = plan.to_owned();
            purchase.orders.push(Order {
                order_id: order_id.clone(),
                kind: "UPGRADE".into(),
                refunded: false,
                paid_at: now,
            });
            fields.plan = Some(plan.to_owned());
            fields.order = Some(order_id);
        })
    }

    /// Lets the term run out, or a bill become overdue.
    pub fn expire(&self, instance_id: &str) -> Result<SandboxPurchase, SandboxError> {
        let now = self.now();
        self.act(instance_id, CallbackAction::Expire, |purchase, _, _| {
            purchase.status = Status::Frozen;
            purchase.stopped_at = Some(now);
        })
    }

    /// Ends the purchase for good.
    pub fn release(&self, instance_id: &str, refund: bool) -> Result<SandboxPurchase, SandboxError> {
        let now = self.now();
        self.act(instance_id, CallbackAction::Release, |purchase, fields, _| {
            purchase.status = Status::Closed;
            purchase.stopped_at = Some(now);
            if refund {
                purchase.orders.iter_mut().for_each(|order| order.refunded = true);
            }
            fields.refund = refund;
            fields.order = None;
        })
    }

    /// Gives a renewal back.
    pub fn refund_renewal(
        &self,
        instance_id: &str,
        expires_at: Timestamp,
    ) -> Result<SandboxPurchase, SandboxError> {
        self.act(instance_id, CallbackAction::RefundRenew, |purchase, fields, _| {
            purchase.expires_at = Some(expires_at);
            fields.expires_at = Some(expires_at);
        })
    }

    /// Tells the seller that the order was paid.
    pub fn order_paid(&self, instance_id: &str) -> Result<SandboxPurchase, SandboxError> {
        self.act(instance_id, CallbackAction::OrderPay, |_, _, _| {})
    }

    /// Changes one purchase and queues the callback that tells of it.
    fn act(
        &self,
        instance_id: &str,
        action: CallbackAction,
        change: impl FnOnce(&mut SandboxPurchase, &mut CallbackFields, String),
    ) -> Result<SandboxPurchase, SandboxError> {
        self.change(|state| {
            let number = state.next_number();
            let purchase = state.purchases.get_mut(instance_id).ok_or(SandboxError::NoPurchase)?;
            if purchase.status == Status::Closed {
                return Err(SandboxError::Closed);
            }
            let mut fields = fields_of(purchase);
            fields.message_id = Some(self.dialect().message_id(number));
            change(purchase, &mut fields, self.dialect().order_id(number));
            let purchase = purchase.clone();
            state.notify(action, fields);
            Ok(purchase)
        })?
    }

    /// Sends the last callback of this kind once more, the same bytes.
    pub fn repeat(&self, instance_id: &str, action: CallbackAction) -> Result<(), SandboxError> {
        self.change(|state| {
            let same = |n: &&Notice| n.action == action && n.fields.instance.as_deref() == Some(instance_id);
            let fields =
                state.notices.iter().rev().find(same).ok_or(SandboxError::NoPurchase)?.fields.clone();
            state.notify(action, fields);
            Ok(())
        })?
    }

    /// The signed link with which the buyer opens the product now.
    pub fn landing_link(&self, instance_id: &str) -> Result<String, SandboxError> {
        let purchase = self.purchase(instance_id).ok_or(SandboxError::NoPurchase)?;
        let fields = CallbackFields {
            instance: Some(purchase.instance_id),
            at: Some(self.now()),
            ..CallbackFields::default()
        };
        let signed = self.dialect().sign(CallbackAction::Land, &fields)?;
        let url = purchase.landing_url.ok_or(SandboxError::NotConfirmed)?;
        let joint = if url.contains('?') { '&' } else { '?' };
        Ok(format!("{url}{joint}{}", signed.query))
    }

    /// One purchase.
    pub fn purchase(&self, instance_id: &str) -> Option<SandboxPurchase> {
        self.look(|state| state.purchases.get(instance_id).cloned())
    }

    /// Every purchase.
    pub fn purchases(&self) -> Vec<SandboxPurchase> {
        self.look(|state| state.purchases.values().cloned().collect())
    }

    /// The usage that was taken, in order.
    pub fn usage(&self) -> Vec<RememberedUsage> {
        self.look(|state| state.usage.clone())
    }

    /// Every callback and what became of it.
    pub fn callbacks(&self) -> Vec<Notice> {
        self.look(|state| state.notices.clone())
    }

    /// Makes the next calls fail.
    pub fn add_fault(&self, fault: Fault) -> Result<(), SandboxError> {
        self.change(|state| state.faults.push(fault))
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) -> Result<(), SandboxError> {
        self.change(|state| state.faults.clear())
    }

    /// Says how callbacks are delivered from now on.
    pub fn set_delivery(&self, settings: DeliverySettings) -> Result<(), SandboxError> {
        let copies = settings.copies.clamp(1, COPIES_MAX);
        self.change(|state| state.delivery = DeliverySettings { copies, ..settings })
    }

    /// Lets held callbacks go, and holds no more.
    pub fn let_go(&self, order: LetGo) -> Result<(), SandboxError> {
        self.change(|state| {
            state.delivery.hold = false;
            if order == LetGo::Backward {
                let places: Vec<usize> = (0..state.notices.len())
                    .filter(|at| state.notices.get(*at).is_some_and(|n| n.state == NoticeState::Held))
                    .collect();
                for (front, back) in places.iter().zip(places.iter().rev()).take(places.len() / 2) {
                    state.notices.swap(*front, *back);
                }
            }
            for notice in state.notices.iter_mut().filter(|n| n.state == NoticeState::Held) {
                notice.state = NoticeState::Waiting;
            }
        })
    }

    /// Waits until no callback is waiting.
    ///
    /// Fails when some still are after this time.
    pub async fn settle(&self, limit: Duration) -> Result<(), SandboxError> {
        let settled = async {
            loop {
                let changed = self.changed();
                if self.look(|state| state.notices.iter().all(|n| n.state != NoticeState::Waiting)) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, settled).await.map_err(|_| SandboxError::NotSettled)
    }
}

/// What every callback of a purchase may say.
fn fields_of(purchase: &SandboxPurchase) -> CallbackFields {
    CallbackFields {
        instance: Some(purchase.instance_id.clone()),
        account: Some(purchase.account_id.clone()),
        order: purchase.orders.first().map(|order| order.order_id.clone()),
        product: Some(purchase.product_code.clone()),
        plan: Some(purchase.plan.clone()),
        trial: purchase.trial,
        expires_at: purchase.expires_at,
        ..CallbackFields::default()
    }
}
