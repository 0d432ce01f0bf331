//! Contexts for tests: a migrated database of each engine, a clock that stands still, and customers to try things on.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::Value;
use sea_orm_migration::MigrationTrait;
use tandem_proto::common::v1::Role;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, CloudAccountId, SubscriptionId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::quantity::Quantity;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::clock::{SharedClock, TestClock};
use tandem_service_kit::config::MailSection;
use tandem_service_kit::db::testing::{TestDatabase, both_with};
use tandem_service_kit::db::{self};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::identity::{Signer, SigningKey};
use tandem_service_kit::peer::{Peer, PeerChannel};

use crate::config::{Config, VendorRules};
use crate::context::{Context, Gateway, Payments, Wakes};
use crate::domain::wallet::Wallet;
use crate::mail::Letterhead;
use crate::migration;
use crate::ops::deliver_usage;
use crate::ops::wallet_acts::{self, Act, Done};
use crate::store::usage::Delivered;

/// A context with what keeps it alive.
pub(crate) struct Bench {
    pub(crate) ctx: Arc<Context>,
    pub(crate) clock: Arc<TestClock>,
    _database: TestDatabase,
}

impl Deref for Bench {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.ctx
    }
}

fn steps() -> Vec<Box<dyn MigrationTrait>> {
    db::migrations().into_iter().chain(migration::migrations()).collect()
}

/// An instant.
pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A day.
pub(crate) fn day(text: &str) -> UsageDay {
    text.parse().unwrap()
}

/// A context on each engine, with a gateway that nobody answers at. The clock stands at 2026-03-01T00:00:00Z.
pub(crate) async fn both(name: &str) -> Vec<Bench> {
    both_with_gateway(name, "http://127.0.0.1:9").await
}

/// A context on each engine that calls a gateway.
pub(crate) async fn both_with_gateway(name: &str, gateway: &str) -> Vec<Bench> {
    let mut benches = Vec::new();
    for database in both_with(&format!("billing_{name}"), steps).await {
        let clock = Arc::new(TestClock::frozen(at("2026-03-01T00:00:00Z")));
        let shared: SharedClock = clock.clone();
        let ctx = Context {
            db: (*database).clone(),
            clock: shared,
            vendors: Config::load(None).unwrap().vendor_rules().unwrap(),
            letterhead: Letterhead::new(&MailSection::default()),
            brand: Default::default(),
            can_text: true,
            links: crate::links::for_tests(),
            gateway: Gateway::new(gateway_at(gateway)),
            payments: Payments::new(gateway_at(gateway)),
            reconcile_every: SignedDuration::from_hours(1),
            lanes: Default::default(),
            wakes: Wakes::default(),
        };
        crate::store::price::store(&ctx.db, &crate::store::price::shipped().unwrap(), clock.start())
            .await
            .unwrap();
        benches.push(Bench { ctx: Arc::new(ctx), clock, _database: database });
    }
    benches
}

fn gateway_at(uri: &str) -> PeerChannel {
    let signer = Signer::new("billing", Role::Billing, SigningKey::generate().unwrap());
    Peer::connect_lazy(uri, Arc::new(signer), "gateway", Duration::from_secs(5)).unwrap().channel()
}

/// The clock's own time, for tests.
trait Start {
    fn start(&self) -> Timestamp;
}

impl Start for TestClock {
    fn start(&self) -> Timestamp {
        tandem_service_kit::clock::Clock::now(self)
    }
}

impl Bench {
    /// The same, calling another gateway.
    pub(crate) fn calling(self, gateway: &str) -> Bench {
        let ctx = Context {
            db: self.ctx.db.clone(),
            clock: self.ctx.clock.clone(),
            vendors: self.ctx.vendors.clone(),
            letterhead: self.ctx.letterhead.clone(),
            brand: self.ctx.brand.clone(),
            can_text: self.ctx.can_text,
            links: self.ctx.links.clone(),
            gateway: Gateway::new(gateway_at(gateway)),
            payments: Payments::new(gateway_at(gateway)),
            reconcile_every: SignedDuration::from_hours(1),
            lanes: Default::default(),
            wakes: Wakes::default(),
        };
        Bench { ctx: Arc::new(ctx), ..self }
    }

    /// The same, with other rules for a vendor.
    pub(crate) fn with_vendor(self, vendor: Vendor, rules: VendorRules) -> Bench {
        let mut vendors = self.ctx.vendors.clone();
        vendors.insert(vendor, rules);
        let ctx = Context {
            db: self.ctx.db.clone(),
            clock: self.ctx.clock.clone(),
            vendors,
            letterhead: self.ctx.letterhead.clone(),
            brand: self.ctx.brand.clone(),
            can_text: self.ctx.can_text,
            links: self.ctx.links.clone(),
            gateway: self.ctx.gateway.clone(),
            payments: self.ctx.payments.clone(),
            reconcile_every: SignedDuration::from_hours(1),
            lanes: Default::default(),
            wakes: Wakes::default(),
        };
        Bench { ctx: Arc::new(ctx), ..self }
    }

    /// Moves the clock on.
    pub(crate) fn pass(&self, span: SignedDuration) {
        self.clock.advance_by(span);
    }

    /// Runs a statement.
    pub(crate) async fn run(&self, text: &str, values: impl IntoIterator<Item = Value>) {
        let tx = self.db.begin().await.unwrap();
        tx.run(text, values).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Reads one number.
    pub(crate) async fn number(&self, text: &str) -> i64 {
        let row = crate::store::read::one(&self.db.read, text, []).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// Adds a billing account in CNY.
    pub(crate) async fn account(&self, username: &str) -> BillingAccountId {
        let id: BillingAccountId = fresh();
        let text = "INSERT INTO billing_account (id, region, username, username_key, email, email_key, password_hash, \
                    company_name, company_industry, company_region, company_description, currency, language, \
                    any_settlement_allowed, standing, created_at) \
                    VALUES (?, 'domestic', ?, ?, ?, ?, '-', 'ACME', '', '', '', 'CNY', 'en', false, 'good', 0)";
        let email = format!("{username}@acme.test");
        let values = [
            id.as_str().into(),
            username.into(),
            username.into(),
            email.as_str().into(),
            email.as_str().into(),
        ];
        self.run(text, values).await;
        id
    }

    /// Adds a workspace on cn1 (Asia/Shanghai) that the Billing Center settles since 2026-02-01.
    pub(crate) async fn workspace(&self, account: &BillingAccountId, name: &str) -> WorkspaceId {
        let id: WorkspaceId = fresh();
        let bound = at("2026-02-01T00:00:00Z").as_microsecond();
        self.run(
            "INSERT INTO workspace_directory (workspace_id, billing_account_id) VALUES (?, ?)",
            [id.as_str().into(), account.as_str().into()],
        )
        .await;
        let text = "INSERT INTO workspace (billing_account_id, workspace_id, name, site, time_zone, price_zone, \
                    billing_region, default_methods, language, owner_email, profile_revision, bound_at, standing, revision) \
                    VALUES (?, ?, ?, 'cn1', 'Asia/Shanghai', 'CN', 'domestic', 'alibaba', 'en', ?, 1, ?, 'active', 1)";
        let owner = format!("{name}@owner.test");
        self.run(
            text,
            [account.as_str().into(), id.as_str().into(), name.into(), owner.into(), bound.into()],
        )
        .await;
        let text = "INSERT INTO workspace_binding (billing_account_id, workspace_id, effective_from, settlement_method, cause) \
                    VALUES (?, ?, ?, 'billing_center', 'bound')";
        self.run(text, [account.as_str().into(), id.as_str().into(), bound.into()]).await;
        id
    }

    /// Settles a workspace through a purchase on the first cloud, from the start.
    pub(crate) async fn settle_by_cloud(
        &self,
        account: &BillingAccountId,
        workspaces: &[&WorkspaceId],
    ) -> SubscriptionId {
        let (cloud, subscription): (CloudAccountId, SubscriptionId) = (fresh(), fresh());
        self.run(
            "INSERT INTO cloud_account (id, vendor, vendor_account_id, billing_account_id, created_at) \
             VALUES (?, 'alibaba', '1744500000000021', ?, 0)",
            [cloud.as_str().into(), account.as_str().into()],
        )
        .await;
        let text = "INSERT INTO subscription (id, vendor, market, vendor_instance_id, vendor_account_id, \
                    cloud_account_id, billing_account_id, product_code, plan, state, trial, \
                    activated_at, created_at, next_submit_at, revision) VALUES (?, 'alibaba', 'china', '1551234567', \
                    '1744500000000021', ?, ?, 'cmgj00099001', '', 'active', false, 0, 0, 0, 1)";
        self.run(text, [subscription.as_str().into(), cloud.as_str().into(), account.as_str().into()]).await;
        for workspace in workspaces {
            let text = "UPDATE workspace_binding SET settlement_method = 'alibaba', cloud_account_id = ?, \
                        subscription_id = ? WHERE workspace_id = ?";
            self.run(text, [cloud.as_str().into(), subscription.as_str().into(), workspace.as_str().into()])
                .await;
        }
        subscription
    }

    /// Delivers quantities of a day, in whole units.
    pub(crate) async fn deliver(
        &self,
        workspace: &WorkspaceId,
        on: &str,
        revision: i64,
        usage: &[(BillingItem, i32, i64)],
    ) {
        let delivered: Vec<Delivered> = usage
            .iter()
            .map(|(item, retention_days, units)| Delivered {
                workspace: workspace.clone(),
                day: day(on),
                item: *item,
                retention_days: *retention_days,
                sub_key: String::new(),
                quantity: Quantity::whole(*units).unwrap(),
                revision,
            })
            .collect();
        let tx = self.db.begin().await.unwrap();
        let refused = deliver_usage::deliver_usage(&tx, &delivered).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(refused, []);
    }

    /// Closes a day of cn1 and makes its bills. Returns how many.
    pub(crate) async fn bill(&self, on: &str) -> usize {
        let tx = self.db.begin().await.unwrap();
        crate::ops::close_day::close_day(&tx, "cn1", day(on), "Asia/Shanghai", self.ctx.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        crate::ops::run_billing::run(&self.ctx, "cn1", day(on)).await.unwrap()
    }

    /// Books a recharge in fen.
    pub(crate) async fn recharge(&self, account: &BillingAccountId, minor: i64) {
        self.inflow(account, minor, false).await;
    }

    /// Books a recharge in fen that buys a prepaid card.
    pub(crate) async fn card_by_payment(&self, account: &BillingAccountId, minor: i64) {
        self.inflow(account, minor, true).await;
    }

    async fn inflow(&self, account: &BillingAccountId, minor: i64, buys_card: bool) {
        use crate::ops::create_recharge::create_recharge;
        use crate::store::recharge::RechargeChannel;
        use tandem_proto::money::{Currency, Money};
        let now = self.ctx.clock.now();
        let amount = Money { minor, currency: Currency::Cny };
        let channel = RechargeChannel::BankTransfer;
        let tx = self.db.begin().await.unwrap();
        let made = create_recharge(&tx, account, amount, channel, buys_card, now).await.unwrap();
        tx.commit().await.unwrap();
        let external_ref = made.id.as_str().to_owned();
        self.act(account, Act::ConfirmRecharge { id: made.id, external_ref }).await.unwrap();
    }

    /// Makes one act on a wallet.
    pub(crate) async fn act(&self, account: &BillingAccountId, act: Act) -> Result<Done, Fault> {
        let now = self.ctx.clock.now();
        let tx = self.db.begin().await.unwrap();
        let payer = crate::store::account::lock(&tx, account).await.unwrap().unwrap();
        let mut done = wallet_acts::apply(&tx, &self.ctx, payer, &[act], now).await.unwrap();
        tx.commit().await.unwrap();
        done.pop().unwrap()
    }

    /// An account's wallet.
    pub(crate) async fn wallet(&self, account: &BillingAccountId) -> Wallet {
        crate::store::lot::wallet(&self.db.read, account).await.unwrap()
    }

    /// Fails unless ledger and bills prove equal.
    pub(crate) async fn prove(&self) {
        use crate::ops::{prove_bills::prove_bills, prove_ledger::prove_ledger};
        use tandem_proto::page::Page;
        let ledger = prove_ledger(&self.db, None).await.unwrap();
        assert_eq!(ledger.differences, []);
        assert!(ledger.sums.iter().all(|sum| sum.minor == 0), "{:?}", ledger.sums);
        let bills =
            prove_bills(&self.db, None, None, &Page::from_request(500, "", 2).unwrap()).await.unwrap();
        assert_eq!(bills.differences, []);
        // The newest ones also by themselves.
        let text = "SELECT id FROM daily_bill ORDER BY id DESC LIMIT 10";
        for row in crate::store::read::all(&self.db.read, text, []).await.unwrap() {
            let id = crate::store::read::Row(&row, "daily_bill").parse("id").unwrap();
            let proved = crate::ops::prove_bill::prove_bill(&self.db, &id).await.unwrap();
            assert_eq!(proved.differences, [], "{id}");
        }
    }
}
