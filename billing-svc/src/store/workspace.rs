//! Workspaces as Billing knows them: profile and standing, and the directory that routes by workspace.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::language::Language;
use tandem_proto::settlement::{BillingRegion, PriceZone, SettlementMethod};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, maybe_micros, micros};
use super::usage::{Place, places_relation};
use crate::domain::standing::Standing;

const TABLE: &str = "workspace";
const COLUMNS: &str = "w.billing_account_id, w.workspace_id, w.name, w.site, w.time_zone, w.price_zone, \
    w.billing_region, w.default_methods, w.language, w.owner_email, w.profile_revision, w.bound_at, \
    w.method_changed_month, w.standing, w.lock_at, w.lock_cause, w.revision";

/// A workspace as Billing knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Who receives its bills.
    pub billing_account: BillingAccountId,
    /// Opaque.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// The site's code.
    pub site: String,
    /// The zone whose midnight ends a usage day.
    pub time_zone: String,
    /// Which prices apply.
    pub price_zone: PriceZone,
    /// Which Billing Center the site belongs to.
    pub billing_region: BillingRegion,
    /// What the site allows to settle with by default.
    pub default_methods: Vec<SettlementMethod>,
    /// The language of mails about it.
    pub language: Language,
    /// The owner's address.
    pub owner_email: String,
    /// The Console's revision of the profile.
    pub profile_revision: i64,
    /// When it was bound.
    pub bound_at: Timestamp,
    /// The month (`yyyymm`, site's zone) the customer last changed the method in.
    pub method_changed_month: Option<i32>,
    /// Whether it may be used.
    pub standing: Standing,
    /// Grows with each change that followers are told.
    pub revision: i64,
}

fn read(row: &QueryResult) -> Result<Workspace, StoreError> {
    let row = Row(row, TABLE);
    let methods = row.text("default_methods")?;
    let methods = methods.split(',').filter(|name| !name.is_empty());
    let default_methods = methods.map(|name| name.parse().map_err(|_| row.corrupt("default_methods")));
    Ok(Workspace {
        billing_account: row.parse("billing_account_id")?,
        id: row.parse("workspace_id")?,
        name: row.text("name")?,
        site: row.text("site")?,
        time_zone: row.text("time_zone")?,
        price_zone: row.parse("price_zone")?,
        billing_region: row.parse("billing_region")?,
        default_methods: default_methods.collect::<Result<_, _>>()?,
        language: row.parse("language")?,
        owner_email: row.text("owner_email")?,
        profile_revision: row.int("profile_revision")?,
        bound_at: row.time("bound_at")?,
        method_changed_month: row.maybe_small("method_changed_month")?,
        standing: Standing {
            state: row.parse("standing")?,
            lock_at: row.maybe_time("lock_at")?,
            cause: row.maybe_parse("lock_cause")?,
        },
        revision: row.int("revision")?,
    })
}

fn method_names(methods: &[SettlementMethod]) -> String {
    methods.iter().map(|m| m.name()).collect::<Vec<_>>().join(",")
}

/// Adds a workspace; `false` when it belongs to an account already.
pub async fn insert(tx: &Tx, w: &Workspace) -> Result<bool, StoreError> {
    let text = "INSERT INTO workspace_directory (workspace_id, billing_account_id) VALUES (?, ?) \
                ON CONFLICT (workspace_id) DO NOTHING";
    if tx.run(text, [w.id.as_str().into(), w.billing_account.as_str().into()]).await? == 0 {
        return Ok(false);
    }
    let text = "INSERT INTO workspace (billing_account_id, workspace_id, name, site, time_zone, price_zone, \
                billing_region, default_methods, language, owner_email, profile_revision, bound_at, \
                method_changed_month, standing, lock_at, lock_cause, revision) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values: [Value; 17] = [
        w.billing_account.as_str().into(),
        w.id.as_str().into(),
        w.name.as_str().into(),
        w.site.as_str().into(),
        w.time_zone.as_str().into(),
        w.price_zone.name().into(),
        w.billing_region.name().into(),
        method_names(&w.default_methods).into(),
        w.language.name().into(),
        w.owner_email.as_str().into(),
        w.profile_revision.into(),
        micros(w.bound_at),
        w.method_changed_month.into(),
        w.standing.state.name().into(),
        maybe_micros(w.standing.lock_at),
        w.standing.cause.map(|c| c.name()).into(),
        w.revision.into(),
    ];
    tx.run(text, values).await?;
    Ok(true)
}

/// Finds a workspace.
pub async fn find(db: &impl ConnectionTrait, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM workspace_directory d JOIN workspace w \
         ON w.billing_account_id = d.billing_account_id AND w.workspace_id = d.workspace_id WHERE d.workspace_id = ?"
    );
    read::one(db, &text, [id.as_str().into()]).await?.as_ref().map(read).transpose()
}

/// Finds workspaces, in the order of account and id.
pub async fn find_all(db: &impl ConnectionTrait, ids: &[WorkspaceId]) -> Result<Vec<Workspace>, StoreError> {
    let mut wanted = Rows::new(&[("workspace_id", Kind::Text)]);
    ids.iter().for_each(|id| wanted.push([id.as_str().into()]));
    let wanted = wanted.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT {COLUMNS} FROM {} JOIN workspace_directory d ON d.workspace_id = r.workspace_id \
         JOIN workspace w ON w.billing_account_id = d.billing_account_id AND w.workspace_id = d.workspace_id \
         ORDER BY w.billing_account_id, w.workspace_id",
        wanted.sql
    );
    read::all(db, &text, wanted.values).await?.iter().map(read).collect()
}

/// Reads workspaces and locks them, in the order of account and id; those that are not there are left out.
pub async fn lock(tx: &Tx, ids: &[WorkspaceId]) -> Result<Vec<Workspace>, StoreError> {
    let mut wanted = Rows::new(&[("workspace_id", Kind::Text)]);
    ids.iter().for_each(|id| wanted.push([id.as_str().into()]));
    let wanted = wanted.relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF w" };
    let text = format!(
        "SELECT {COLUMNS} FROM {} JOIN workspace_directory d ON d.workspace_id = r.workspace_id \
         JOIN workspace w ON w.billing_account_id = d.billing_account_id AND w.workspace_id = d.workspace_id \
         ORDER BY w.billing_account_id, w.workspace_id{lock}",
        wanted.sql
    );
    read::all(tx, &text, wanted.values).await?.iter().map(read).collect()
}

/// Reads workspaces as they are at accounts, also at one that they have left, and locks them, in the order of account
/// and id.
pub async fn lock_places(tx: &Tx, places: &[Place]) -> Result<Vec<Workspace>, StoreError> {
    let wanted = places_relation(places).relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF w" };
    let text = format!(
        "SELECT {COLUMNS} FROM {} JOIN workspace w ON w.billing_account_id = r.billing_account_id \
         AND w.workspace_id = r.workspace_id ORDER BY w.billing_account_id, w.workspace_id{lock}",
        wanted.sql
    );
    read::all(tx, &text, wanted.values).await?.iter().map(read).collect()
}

/// Reads and locks the workspaces of accounts that are settled by the Billing Center now.
pub async fn lock_settled_by_billing_center(
    tx: &Tx,
    accounts: &[BillingAccountId],
) -> Result<Vec<Workspace>, StoreError> {
    let mut wanted = Rows::new(&[("billing_account_id", Kind::Text)]);
    accounts.iter().for_each(|id| wanted.push([id.as_str().into()]));
    let wanted = wanted.relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF w" };
    let text = format!(
        "SELECT {COLUMNS} FROM {} JOIN workspace w ON w.billing_account_id = r.billing_account_id \
         JOIN workspace_binding b ON b.billing_account_id = w.billing_account_id \
         AND b.workspace_id = w.workspace_id AND b.effective_to IS NULL \
         WHERE b.settlement_method = 'billing_center' ORDER BY w.billing_account_id, w.workspace_id{lock}",
        wanted.sql
    );
    read::all(tx, &text, wanted.values).await?.iter().map(read).collect()
}

/// Reads and locks workspaces whose countdown has run out, a bounded number of them.
pub async fn lock_due(tx: &Tx, now: Timestamp, limit: i64) -> Result<Vec<Workspace>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM workspace w WHERE w.lock_at IS NOT NULL AND w.lock_at <= ? \
         ORDER BY w.billing_account_id, w.workspace_id LIMIT ?{}",
        for_update(tx)
    );
    read::all(tx, &text, [micros(now), limit.into()]).await?.iter().map(read).collect()
}

/// Marks workspaces that will be locked after one instant and not after another as warned of, at most `limit`, and
/// returns those that were not warned of at this number of days or fewer before. The mark goes with the countdown.
pub async fn mark_warned(
    tx: &Tx,
    from: Timestamp,
    until: Timestamp,
    days: i64,
    limit: i64,
) -> Result<Vec<Workspace>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM workspace w WHERE w.lock_at IS NOT NULL AND w.lock_at > ? AND w.lock_at <= ? \
         AND (w.lock_warned_days IS NULL OR w.lock_warned_days > ?) \
         ORDER BY w.billing_account_id, w.workspace_id LIMIT ?{}",
        for_update(tx)
    );
    let values = [micros(from), micros(until), days.into(), limit.into()];
    let due: Vec<Workspace> =
        read::all(tx, &text, values).await?.iter().map(read).collect::<Result<_, _>>()?;
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("workspace_id", Kind::Text)]);
    due.iter().for_each(|w| rows.push([w.billing_account.as_str().into(), w.id.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE workspace SET lock_warned_days = {days} FROM {} WHERE workspace.billing_account_id = r.billing_account_id \
         AND workspace.workspace_id = r.workspace_id",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(due)
}

/// Saves standings and what grows with them.
pub async fn save_standings(tx: &Tx, workspaces: &[Workspace]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("standing", Kind::Text),
        ("lock_at", Kind::Int),
        ("lock_cause", Kind::Text),
        ("revision", Kind::Int),
    ]);
    for w in workspaces {
        rows.push([
            w.billing_account.as_str().into(),
            w.id.as_str().into(),
            w.standing.state.name().into(),
            maybe_micros(w.standing.lock_at),
            w.standing.cause.map(|c| c.name()).into(),
            w.revision.into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE workspace SET standing = r.standing, lock_at = r.lock_at, lock_cause = r.lock_cause, \
         lock_warned_days = NULL, revision = r.revision FROM {} WHERE workspace.billing_account_id = r.billing_account_id \
         AND workspace.workspace_id = r.workspace_id",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Takes a newer profile over; an older one changes nothing.
pub async fn save_profile(tx: &Tx, w: &Workspace) -> Result<(), StoreError> {
    let text = "UPDATE workspace SET name = ?, owner_email = ?, default_methods = ?, profile_revision = ? \
                WHERE billing_account_id = ? AND workspace_id = ? AND profile_revision < ?";
    let values: [Value; 7] = [
        w.name.as_str().into(),
        w.owner_email.as_str().into(),
        method_names(&w.default_methods).into(),
        w.profile_revision.into(),
        w.billing_account.as_str().into(),
        w.id.as_str().into(),
        w.profile_revision.into(),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Notes the month in which the customer changed the method (rule R1).
pub async fn set_method_changed(tx: &Tx, w: &Workspace, month: i32) -> Result<(), StoreError> {
    let text =
        "UPDATE workspace SET method_changed_month = ? WHERE billing_account_id = ? AND workspace_id = ?";
    tx.run(text, [month.into(), w.billing_account.as_str().into(), w.id.as_str().into()]).await?;
    Ok(())
}
