//! One busy account: callers who all buy from the same balance, against plain SQL that posts to one row.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tandem_billing::config::Config;
use tandem_billing::{App, Listeners};
use tandem_proto::billing::v1::BuyPrepaidCardRequest;
use tandem_proto::billing::v1::wallet_service_client::WalletServiceClient;
use tandem_proto::common::v1::{Money, Role};
use tandem_service_kit::clock::TestClock;
use tandem_service_kit::config::SecretRef;
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::identity::{Signer, SigningKey};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::Sizes;
use crate::bill_seed::NOW;
use crate::postgres::{Database, Server, number, program, run as run_text};
use crate::process::telemetry;
use crate::report::{Better, Measure};
use crate::singles::rate_of;
use crate::stats::rate;

/// Callers at a time, as the floors are stated for; the plain statements have as many clients as the first.
const FEW: usize = 8;
const MANY: usize = 32;
/// What has to be reached of the plain statements, and by many callers of what few reach.
const FLOOR: f64 = 1.0;
/// Workspaces of the account.
const WORKSPACES: u32 = 1_000;
/// Cards it has bought and used up before: an account that busy has a past, and the planner knows of it.
const OLD_CARDS: u32 = 20_000;
/// What one caller buys, and what there is, in fen.
const PRICE: i64 = 10_000;
const CASH: i64 = 1_000_000_000_000;
const ACCOUNT: &str = "bac_01950000000070000000000000000001";

/// A posting as plain SQL does it: take it from the balance if it is there, and write both entries.
const SCRIPT: &str = "\
BEGIN;
UPDATE reference.balance SET amount = amount - 10000, entries = entries + 1 WHERE id = 1 AND amount - 10000 >= 0;
INSERT INTO reference.entry (id, account, amount, entered_at) VALUES (gen_random_uuid(), 'cash', -10000, now());
INSERT INTO reference.entry (id, account, amount, entered_at) VALUES (gen_random_uuid(), 'card', 10000, now());
COMMIT;
";

/// Measures both sides in turn.
pub(crate) async fn run(server: &Server, sizes: Sizes) -> anyhow::Result<Vec<Measure>> {
    let database = server.database().await?;
    let billing = Billing::start(&database).await?;
    let mut connection = server.connect(Some(&database)).await?;
    for text in statements() {
        run_text(&mut connection, &text).await.with_context(|| text.clone())?;
    }
    let mut script = tempfile::NamedTempFile::new()?;
    script.write_all(SCRIPT.as_bytes())?;

    let (mut postings, mut growth, mut bought) = (Vec::new(), Vec::new(), 0);
    for round in 0..=sizes.rounds {
        // The first round makes connections and prepares statements on both sides.
        let secs = if round == 0 { 1 } else { sizes.hot_secs };
        let (few, few_took) = billing.buy(FEW, secs).await?;
        let (many, many_took) = billing.buy(MANY, secs).await?;
        let reference = pgbench(&database, script.path(), secs).await?;
        bought += i64::from(few) + i64::from(many);
        if round > 0 {
            let (few, many) = (rate(few, few_took), rate(many, many_took));
            postings.push((few, reference));
            growth.push((many, few));
        }
    }
    let spent = "SELECT CAST(SUM(amount) AS BIGINT) FROM ledger_entry WHERE account = 'cash:rch_1'";
    let left = number(&mut connection, spent).await?;
    anyhow::ensure!(left == CASH - bought * PRICE, "{bought} were bought, and {left} fen are left");
    let sum = number(&mut connection, "SELECT CAST(SUM(amount) AS BIGINT) FROM ledger_entry").await?;
    anyhow::ensure!(sum == 0, "the ledger adds up to {sum}");
    billing.stop().await?;
    server.remove(database).await?;
    let better = Better::Higher;
    Ok(vec![
        Measure { name: "hot_account_8", floor: FLOOR, better, unit: "postings/s", pairs: postings },
        Measure { name: "hot_account_8_to_32", floor: FLOOR, better, unit: "postings/s", pairs: growth },
    ])
}

/// Billing in this process, called over gRPC.
struct Billing {
    url: String,
    source: Arc<Signer>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Billing {
    async fn start(database: &Database) -> anyhow::Result<Billing> {
        telemetry()?;
        let folder = tempfile::tempdir()?;
        let (own, caller) = (SigningKey::generate()?, SigningKey::generate()?);
        let key = folder.path().join("key");
        std::fs::write(&key, own.to_secret().expose_secret())?;
        let mut config = Config::load(None).context("Billing's configuration")?;
        config.database.url.clone_from(&database.url);
        config.identity.key = Some(SecretRef::File(key));
        config.mail.directory = folder.path().join("mail");
        config.identity.callers = vec![tandem_service_kit::config::CallerSection {
            name: "portal".to_owned(),
            role: "portal".to_owned(),
            public_keys: vec![caller.public_key()],
        }];
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let clock = Arc::new(TestClock::new(NOW.parse()?));
        let app = App::build(config, Listeners { grpc: listener, metrics: None }, clock).await?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(stop.clone()));
        let source = Arc::new(Signer::new("portal", Role::Portal, caller));
        Ok(Billing { url, source, stop, running, _folder: folder })
    }

    /// Lets so many callers buy as often as they can for some seconds; how often all did, and how long it took.
    async fn buy(&self, callers: usize, secs: u32) -> anyhow::Result<(u32, Duration)> {
        let token: MetadataValue<Ascii> =
            format!("Bearer {}", self.source.token_now(&["billing"])).parse()?;
        let channel: Channel = Endpoint::from_shared(self.url.clone())?.tcp_nodelay(true).connect_lazy();
        let begun = Instant::now();
        let until = begun + Duration::from_secs(u64::from(secs));
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (channel, token) = (channel.clone(), token.clone());
            tasks.spawn(async move {
                let mut client = WalletServiceClient::new(channel);
                let mut calls = 0_u32;
                while Instant::now() < until {
                    let mut request = Request::new(BuyPrepaidCardRequest {
                        request_id: fresh_uuid().to_string(),
                        billing_account_id: ACCOUNT.to_owned(),
                        face_value: Some(Money { currency_code: "CNY".to_owned(), minor_units: PRICE }),
                    });
                    request.metadata_mut().insert("authorization", token.clone());
                    client.buy_prepaid_card(request).await.context("BuyPrepaidCard failed")?;
                    calls += 1;
                }
                anyhow::Ok(calls)
            });
        }
        let mut calls = 0;
        while let Some(done) = tasks.join_next().await {
            calls += done??;
        }
        Ok((calls, begun.elapsed()))
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.running.await?
    }
}

/// The account with its workspaces and cash, and the plain statements' own tables.
fn statements() -> Vec<String> {
    let workspace = "'wks_0195000000007000' || lpad(to_hex(n), 16, '0')";
    let each = format!("FROM generate_series(1, {WORKSPACES}) AS n");
    let mut all = vec![
        format!(
            "INSERT INTO billing_account (id, region, username, username_key, email, email_key, password_hash, \
             company_name, company_industry, company_region, company_description, currency, language, \
             any_settlement_allowed, standing, created_at) VALUES ('{ACCOUNT}', 'domestic', 'hot', 'hot', \
             'hot@mail.test', 'hot@mail.test', '-', 'Hot', '', '', '', 'CNY', 'en', false, 'good', 0)"
        ),
        format!(
            "INSERT INTO workspace_directory (workspace_id, billing_account_id) SELECT {workspace}, '{ACCOUNT}' {each}"
        ),
        format!(
            "INSERT INTO workspace (billing_account_id, workspace_id, name, site, time_zone, price_zone, \
             billing_region, default_methods, language, owner_email, profile_revision, bound_at, standing, revision) \
             SELECT '{ACCOUNT}', {workspace}, 'Workspace ' || n, 'cn1', 'Asia/Shanghai', 'CN', 'domestic', 'alibaba', \
             'en', 'owner@mail.test', 1, 0, 'active', 1 {each}"
        ),
        format!(
            "INSERT INTO workspace_binding (billing_account_id, workspace_id, effective_from, settlement_method, cause) \
             SELECT '{ACCOUNT}', {workspace}, 0, 'billing_center', 'bound' {each}"
        ),
        format!(
            "INSERT INTO lot (billing_account_id, id, account, kind, currency, face, min_spend, opened_at, valid_from, \
             origin, is_open) VALUES ('{ACCOUNT}', 'rch_1', 'cash:rch_1', 'cash', 'CNY', {CASH}, 0, 0, 0, '', true)"
        ),
    ];
    for (account, kind, amount) in [("cash:rch_1", "cash", CASH), ("funding", "funding", -CASH)] {
        all.push(format!(
            "INSERT INTO ledger_account (billing_account_id, account, kind, currency, balance, entry_count) \
             VALUES ('{ACCOUNT}', '{account}', '{kind}', 'CNY', {amount}, 1)"
        ));
        all.push(format!(
            "INSERT INTO ledger_entry (billing_account_id, account, number, transfer_id, currency, amount, \
             balance_after, entered_at, cause, cause_id) VALUES ('{ACCOUNT}', '{account}', 1, 'recharge:rch_1', 'CNY', \
             {amount}, {amount}, 0, 'recharge', 'rch_1')"
        ));
    }
    let card = "'crd_0195000000007000' || lpad(to_hex(n), 16, '0')";
    let old = format!("FROM generate_series(1, {OLD_CARDS}) AS n");
    all.push(format!(
        "INSERT INTO lot (billing_account_id, id, account, kind, currency, face, min_spend, opened_at, valid_from, \
         last_day, origin, is_open) SELECT '{ACCOUNT}', {card}, 'prepaid_card:' || {card}, 'prepaid_card', 'CNY', {PRICE}, \
         0, 0, 0, 20260101, 'cash', false {old}"
    ));
    all.push(format!(
        "INSERT INTO ledger_account (billing_account_id, account, kind, currency, balance, entry_count) \
         SELECT '{ACCOUNT}', 'prepaid_card:' || {card}, 'prepaid_card', 'CNY', 0, 2 {old}"
    ));
    for (number, cause, amount, left) in [(1, "card", PRICE, PRICE), (2, "expiry", -PRICE, 0)] {
        all.push(format!(
            "INSERT INTO ledger_entry (billing_account_id, account, number, transfer_id, currency, amount, \
             balance_after, entered_at, cause, cause_id) SELECT '{ACCOUNT}', 'prepaid_card:' || {card}, {number}, \
             '{cause}:' || {card}, 'CNY', {amount}, {left}, 0, '{cause}', {card} {old}"
        ));
    }
    for text in [
        "CREATE SCHEMA reference".to_owned(),
        "CREATE TABLE reference.balance (id BIGINT PRIMARY KEY, amount BIGINT NOT NULL, entries BIGINT NOT NULL)"
            .to_owned(),
        format!("INSERT INTO reference.balance VALUES (1, {CASH}, 0)"),
        "CREATE TABLE reference.entry (id UUID PRIMARY KEY, account TEXT NOT NULL, amount BIGINT NOT NULL, \
         entered_at TIMESTAMPTZ NOT NULL)"
            .to_owned(),
        "VACUUM (ANALYZE)".to_owned(),
        "CHECKPOINT".to_owned(),
    ] {
        all.push(text);
    }
    all
}

/// Transactions a second of pgbench with as many clients as our few callers.
async fn pgbench(database: &Database, script: &std::path::Path, secs: u32) -> anyhow::Result<f64> {
    let mut command = Command::new(program("pgbench"));
    command.args(["-n", "-c", &FEW.to_string(), "-j", "2", "-M", "prepared", "-T", &secs.to_string(), "-f"]);
    command.arg(script).arg(&database.url).stdin(Stdio::null()).kill_on_drop(true);
    let done =
        command.output().await.context("pgbench cannot be run; it comes with PostgreSQL's own tools")?;
    let text = String::from_utf8_lossy(&done.stdout);
    anyhow::ensure!(done.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&done.stderr));
    rate_of(&text).with_context(|| format!("pgbench told no rate: {text}"))
}
