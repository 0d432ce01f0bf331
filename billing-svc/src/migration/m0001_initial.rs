//! Accounts, bindings, subscriptions, usage, bills, ledger, metering and the event feed.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0001_initial"
    }
}

/// Tables refused to change once written, by trigger (`reliability.md` 4.6).
const APPEND_ONLY: [&str; 2] = ["ledger_entry", "bill_line"];

const TABLES: &[&str] = &[
    // Accounts. Names are unique in a billing region; the `_key` columns hold what is compared.
    "CREATE TABLE billing_account (
        id TEXT PRIMARY KEY,
        region TEXT NOT NULL,
        username TEXT NOT NULL,
        username_key TEXT NOT NULL,
        email TEXT NOT NULL,
        email_key TEXT NOT NULL,
        phone TEXT,
        password_hash TEXT NOT NULL,
        company_name TEXT NOT NULL,
        company_industry TEXT NOT NULL,
        company_region TEXT NOT NULL,
        company_description TEXT NOT NULL,
        currency TEXT NOT NULL,
        language TEXT NOT NULL,
        any_settlement_allowed BOOLEAN NOT NULL,
        standing TEXT NOT NULL,
        arrears_since BIGINT,
        created_at BIGINT NOT NULL,
        CHECK ((standing = 'good') = (arrears_since IS NULL))
    )",
    "CREATE UNIQUE INDEX billing_account_username ON billing_account (region, username_key)",
    "CREATE UNIQUE INDEX billing_account_email ON billing_account (region, email_key)",
    "CREATE UNIQUE INDEX billing_account_phone ON billing_account (region, phone) WHERE phone IS NOT NULL",
    "CREATE INDEX billing_account_arrears ON billing_account (arrears_since) WHERE arrears_since IS NOT NULL",
    // Which account a workspace belongs to: the reference table that routes by workspace.
    "CREATE TABLE workspace_directory (
        workspace_id TEXT PRIMARY KEY,
        billing_account_id TEXT NOT NULL
    )",
    // What Billing knows of a workspace, and its standing.
    "CREATE TABLE workspace (
        billing_account_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        name TEXT NOT NULL,
        site TEXT NOT NULL,
        time_zone TEXT NOT NULL,
        price_zone TEXT NOT NULL,
        billing_region TEXT NOT NULL,
        default_methods TEXT NOT NULL,
        language TEXT NOT NULL,
        owner_email TEXT NOT NULL,
        profile_revision BIGINT NOT NULL,
        bound_at BIGINT NOT NULL,
        method_changed_month INTEGER,
        standing TEXT NOT NULL,
        lock_at BIGINT,
        lock_cause TEXT,
        lock_warned_days INTEGER,
        revision BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, workspace_id),
        CHECK ((standing = 'lock_countdown') = (lock_at IS NOT NULL))
    )",
    "CREATE INDEX workspace_site ON workspace (site, billing_account_id, workspace_id)",
    "CREATE INDEX workspace_lock ON workspace (lock_at) WHERE lock_at IS NOT NULL",
    // Who is charged for a workspace, and when: periods without gap or overlap (I-18).
    "CREATE TABLE workspace_binding (
        billing_account_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        effective_from BIGINT NOT NULL,
        effective_to BIGINT,
        settlement_method TEXT NOT NULL,
        cloud_account_id TEXT,
        subscription_id TEXT,
        cause TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, workspace_id, effective_from),
        CHECK (effective_to IS NULL OR effective_to > effective_from),
        CHECK ((settlement_method = 'billing_center') = (subscription_id IS NULL)),
        CHECK ((subscription_id IS NULL) = (cloud_account_id IS NULL))
    )",
    "CREATE UNIQUE INDEX workspace_binding_open ON workspace_binding (billing_account_id, workspace_id)
        WHERE effective_to IS NULL",
    "CREATE INDEX workspace_binding_subscription ON workspace_binding (subscription_id)
        WHERE subscription_id IS NOT NULL AND effective_to IS NULL",
    // A cloud customer's account belongs to one billing account (D20).
    "CREATE TABLE cloud_account (
        id TEXT PRIMARY KEY,
        vendor TEXT NOT NULL,
        vendor_account_id TEXT NOT NULL,
        billing_account_id TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE UNIQUE INDEX cloud_account_number ON cloud_account (vendor, vendor_account_id)",
    "CREATE INDEX cloud_account_owner ON cloud_account (billing_account_id, id)",
    "CREATE TABLE subscription (
        id TEXT PRIMARY KEY,
        vendor TEXT NOT NULL,
        market TEXT NOT NULL,
        vendor_instance_id TEXT NOT NULL,
        vendor_account_id TEXT,
        cloud_account_id TEXT,
        billing_account_id TEXT,
        product_code TEXT NOT NULL,
        plan TEXT NOT NULL,
        state TEXT NOT NULL,
        trial BOOLEAN NOT NULL,
        expires_at BIGINT,
        activated_at BIGINT,
        closed_at BIGINT,
        created_at BIGINT NOT NULL,
        reconciled_at BIGINT,
        next_submit_at BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        CHECK ((cloud_account_id IS NULL) = (billing_account_id IS NULL))
    )",
    "CREATE UNIQUE INDEX subscription_instance ON subscription (vendor, vendor_instance_id)",
    "CREATE INDEX subscription_owner ON subscription (billing_account_id, id)",
    "CREATE INDEX subscription_cloud_account ON subscription (cloud_account_id)",
    // The inbox: recorded once by the sender's key, then applied.
    "CREATE TABLE marketplace_event (
        id TEXT PRIMARY KEY,
        vendor TEXT NOT NULL,
        event_key TEXT NOT NULL,
        kind TEXT NOT NULL,
        vendor_instance_id TEXT NOT NULL,
        announced TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        delivery_count INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        available_at BIGINT NOT NULL,
        received_at BIGINT NOT NULL,
        decided_at BIGINT,
        traceparent TEXT
    )",
    "CREATE UNIQUE INDEX marketplace_event_key ON marketplace_event (vendor, event_key)",
    "CREATE INDEX marketplace_event_pending ON marketplace_event (available_at) WHERE state = 'pending'",
    "CREATE INDEX marketplace_event_instance ON marketplace_event (vendor_instance_id, id)",
    "CREATE TABLE landing_ticket (
        id TEXT PRIMARY KEY,
        vendor TEXT NOT NULL,
        market TEXT NOT NULL,
        vendor_instance_id TEXT NOT NULL,
        vendor_account_id TEXT NOT NULL,
        proof_digest TEXT NOT NULL UNIQUE,
        expires_at BIGINT NOT NULL,
        claimed_at BIGINT
    )",
    // Failed proofs, counted by what was tried: purchases and logins.
    "CREATE TABLE failed_try (
        subject TEXT NOT NULL,
        tried_at BIGINT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (subject, tried_at, id)
    )",
    // Price lists never change once stored.
    "CREATE TABLE price_list (
        version TEXT PRIMARY KEY,
        effective_day INTEGER NOT NULL,
        digest TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE TABLE price (
        version TEXT NOT NULL,
        price_zone TEXT NOT NULL,
        currency TEXT NOT NULL,
        item TEXT NOT NULL,
        retention_days INTEGER NOT NULL,
        unit_size BIGINT NOT NULL,
        unit_price BIGINT NOT NULL,
        PRIMARY KEY (version, price_zone, currency, item, retention_days),
        CHECK (unit_size > 0 AND unit_price >= 0)
    )",
    // What workspaces used; `billed` is the part that stands on bills.
    "CREATE TABLE usage_day (
        billing_account_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        usage_day INTEGER NOT NULL,
        item TEXT NOT NULL,
        retention_days INTEGER NOT NULL,
        sub_key TEXT NOT NULL,
        quantity BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        billed BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (billing_account_id, workspace_id, usage_day, item, retention_days, sub_key),
        CHECK (quantity >= 0)
    )",
    "CREATE INDEX usage_day_unbilled ON usage_day (billing_account_id, workspace_id) WHERE quantity <> billed",
    // A site's closed day, and how far its bill run has come.
    "CREATE TABLE site_day (
        site TEXT NOT NULL,
        usage_day INTEGER NOT NULL,
        time_zone TEXT NOT NULL,
        ends_at BIGINT NOT NULL,
        closed_at BIGINT NOT NULL,
        run_cursor TEXT NOT NULL,
        billed_at BIGINT,
        PRIMARY KEY (site, usage_day)
    )",
    "CREATE INDEX site_day_open ON site_day (usage_day) WHERE billed_at IS NULL",
    "CREATE TABLE daily_bill (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        workspace_name TEXT NOT NULL,
        usage_day INTEGER NOT NULL,
        kind TEXT NOT NULL,
        currency TEXT NOT NULL,
        price_zone TEXT NOT NULL,
        price_list_version TEXT NOT NULL,
        settlement_method TEXT NOT NULL,
        cloud_account_id TEXT,
        subscription_id TEXT,
        payable BIGINT NOT NULL,
        restricted BIGINT NOT NULL,
        paid BIGINT NOT NULL,
        state TEXT NOT NULL,
        issued_at BIGINT NOT NULL,
        paid_at BIGINT,
        PRIMARY KEY (billing_account_id, id),
        CHECK (payable > 0 AND paid >= 0 AND paid <= payable AND restricted >= 0 AND restricted <= payable),
        CHECK ((state = 'paid') = (paid = payable))
    )",
    // At most one bill for each account, workspace, day and kind (I-13).
    "CREATE UNIQUE INDEX daily_bill_period ON daily_bill (billing_account_id, workspace_id, usage_day, kind)",
    "CREATE INDEX daily_bill_arrears ON daily_bill (issued_at) WHERE state = 'in_arrears'",
    "CREATE INDEX daily_bill_open ON daily_bill (billing_account_id, issued_at) WHERE state <> 'paid'",
    "CREATE TABLE bill_line (
        billing_account_id TEXT NOT NULL,
        bill_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        item TEXT NOT NULL,
        retention_days INTEGER NOT NULL,
        sub_key TEXT NOT NULL,
        quantity BIGINT NOT NULL,
        unit_size BIGINT NOT NULL,
        unit_price BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        adjusted_day INTEGER,
        price_list_version TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, bill_id, number)
    )",
    // What paid a bill: lots, or a cloud (then `lot` is empty).
    "CREATE TABLE bill_payment (
        billing_account_id TEXT NOT NULL,
        bill_id TEXT NOT NULL,
        transfer_id TEXT NOT NULL,
        lot TEXT NOT NULL,
        instrument TEXT NOT NULL,
        amount BIGINT NOT NULL,
        restricted BIGINT NOT NULL,
        paid_at BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, bill_id, transfer_id, lot),
        CHECK (amount > 0 AND restricted >= 0 AND restricted <= amount),
        CHECK (instrument NOT IN ('general_voucher', 'discount_voucher') OR restricted = 0)
    )",
    // A balance is a fold over its entries; the row here is that fold (I-02).
    "CREATE TABLE ledger_account (
        billing_account_id TEXT NOT NULL,
        account TEXT NOT NULL,
        kind TEXT NOT NULL,
        currency TEXT NOT NULL,
        balance BIGINT NOT NULL,
        entry_count BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, account),
        CHECK (kind NOT IN ('general_voucher', 'discount_voucher', 'prepaid_card', 'cash') OR balance >= 0),
        CHECK (kind <> 'overdraft' OR balance <= 0)
    )",
    // What a customer can pay with: a voucher, a prepaid card, a remainder of cash. Its balance is its ledger account's;
    // `is_open` ends with it, so that what is used up is not looked at again.
    "CREATE TABLE lot (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        account TEXT NOT NULL,
        kind TEXT NOT NULL,
        currency TEXT NOT NULL,
        face BIGINT NOT NULL,
        min_spend BIGINT NOT NULL,
        opened_at BIGINT NOT NULL,
        valid_from BIGINT NOT NULL,
        last_day INTEGER,
        origin TEXT NOT NULL,
        is_open BOOLEAN NOT NULL,
        expired_at BIGINT,
        PRIMARY KEY (billing_account_id, id),
        CHECK (face > 0 AND min_spend >= 0)
    )",
    "CREATE INDEX lot_open ON lot (billing_account_id) WHERE is_open",
    "CREATE INDEX lot_last_day ON lot (last_day) WHERE is_open AND last_day IS NOT NULL",
    "CREATE TABLE ledger_entry (
        billing_account_id TEXT NOT NULL,
        account TEXT NOT NULL,
        number BIGINT NOT NULL,
        transfer_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount BIGINT NOT NULL,
        balance_after BIGINT NOT NULL,
        entered_at BIGINT NOT NULL,
        cause TEXT NOT NULL,
        cause_id TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, account, number),
        CHECK (amount <> 0)
    )",
    // A replay of a transfer meets its own key.
    "CREATE UNIQUE INDEX ledger_entry_transfer ON ledger_entry (billing_account_id, transfer_id, account)",
    "CREATE INDEX ledger_entry_time ON ledger_entry (billing_account_id, entered_at, transfer_id, account)",
    "CREATE TABLE recharge (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount BIGINT NOT NULL,
        channel TEXT NOT NULL,
        state TEXT NOT NULL,
        buys_card BOOLEAN NOT NULL,
        external_ref TEXT,
        created_at BIGINT NOT NULL,
        paid_at BIGINT,
        PRIMARY KEY (billing_account_id, id),
        CHECK (amount > 0)
    )",
    "CREATE UNIQUE INDEX recharge_id ON recharge (id)",
    "CREATE INDEX recharge_waiting ON recharge (created_at) WHERE state = 'created'",
    // Codes that become a voucher once. Only the digest is kept: a code is worth its face value to whoever holds it.
    "CREATE TABLE voucher_code (
        id TEXT PRIMARY KEY,
        code_digest TEXT NOT NULL UNIQUE,
        currency TEXT NOT NULL,
        face BIGINT NOT NULL,
        min_spend BIGINT NOT NULL,
        last_day INTEGER NOT NULL,
        note TEXT NOT NULL,
        issued_at BIGINT NOT NULL,
        billing_account_id TEXT,
        activated_at BIGINT,
        CHECK (face > 0 AND min_spend >= 0),
        CHECK ((billing_account_id IS NULL) = (activated_at IS NULL))
    )",
    "CREATE UNIQUE INDEX recharge_external_ref ON recharge (external_ref) WHERE external_ref IS NOT NULL",
    // Usage for a cloud, fixed before it is sent; at most one for each subscription, dimension and window (I-17).
    "CREATE TABLE metering_record (
        id TEXT PRIMARY KEY,
        subscription_id TEXT NOT NULL,
        billing_account_id TEXT NOT NULL,
        vendor TEXT NOT NULL,
        market TEXT NOT NULL,
        vendor_instance_id TEXT NOT NULL,
        vendor_account_id TEXT NOT NULL,
        product_code TEXT NOT NULL,
        dimension TEXT NOT NULL,
        window_start BIGINT NOT NULL,
        window_end BIGINT NOT NULL,
        quantity BIGINT NOT NULL,
        currency TEXT NOT NULL,
        amount BIGINT NOT NULL,
        final BOOLEAN NOT NULL,
        state TEXT NOT NULL,
        deadline BIGINT NOT NULL,
        attempts INTEGER NOT NULL,
        available_at BIGINT NOT NULL,
        claimed_by TEXT,
        claimed_until BIGINT,
        vendor_code TEXT NOT NULL,
        vendor_reference TEXT NOT NULL,
        note TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        decided_at BIGINT,
        traceparent TEXT,
        CHECK (quantity > 0 AND window_end > window_start)
    )",
    "CREATE UNIQUE INDEX metering_record_window ON metering_record (subscription_id, dimension, window_start)",
    "CREATE INDEX metering_record_due ON metering_record (available_at) WHERE state IN ('pending', 'sending')",
    "CREATE TABLE metering_bill (
        billing_account_id TEXT NOT NULL,
        metering_record_id TEXT NOT NULL,
        bill_id TEXT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, metering_record_id, bill_id)
    )",
    "CREATE INDEX metering_bill_bill ON metering_bill (billing_account_id, bill_id)",
    // The feed. Events are written without a position; one sequencer numbers what has been committed, so that a
    // follower can never miss an event that commits late.
    "CREATE TABLE feed_event (
        id TEXT PRIMARY KEY,
        position BIGINT,
        billing_account_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        payload TEXT NOT NULL,
        traceparent TEXT,
        happened_at BIGINT NOT NULL
    )",
    "CREATE UNIQUE INDEX feed_event_position ON feed_event (position) WHERE position IS NOT NULL",
    "CREATE INDEX feed_event_new ON feed_event (id) WHERE position IS NULL",
    "CREATE TABLE feed_head (name TEXT PRIMARY KEY, position BIGINT NOT NULL)",
    "INSERT INTO feed_head (name, position) VALUES ('feed', 0)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in TABLES {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        for table in APPEND_ONLY {
            tandem_service_kit::db::append_only(manager, table).await?;
        }
        Ok(())
    }
}
