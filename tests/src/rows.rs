//! Looking into the databases: only for what no RPC tells or does.

use sea_orm::{ConnectionTrait as _, DatabaseConnection, QueryResult, Statement};

use crate::system::System;

/// A connection.
#[derive(Debug)]
pub struct Rows(DatabaseConnection);

impl System {
    /// Billing's tables.
    pub async fn billing_rows(&self) -> anyhow::Result<&Rows> {
        self.billing_rows.get_or_try_init(|| Rows::open(&self.databases.billing)).await
    }

    /// The Console's tables.
    pub async fn console_rows(&self) -> anyhow::Result<&Rows> {
        self.console_rows.get_or_try_init(|| Rows::open(&self.databases.console)).await
    }
}

impl Rows {
    async fn open(url: &str) -> anyhow::Result<Rows> {
        let mut options = sea_orm::ConnectOptions::new(url.to_owned());
        options.max_connections(1).sqlx_logging(false);
        Ok(Rows(sea_orm::Database::connect(options).await?))
    }

    /// The rows of a query.
    pub async fn all(&self, sql: &str) -> anyhow::Result<Vec<QueryResult>> {
        let statement = Statement::from_string(self.0.get_database_backend(), sql.to_owned());
        Ok(self.0.query_all_raw(statement).await?)
    }

    /// The one number that a query selects.
    pub async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let rows = self.all(sql).await?;
        let row = rows.first().ok_or_else(|| anyhow::anyhow!("no row: {sql}"))?;
        Ok(row.try_get_by_index::<i64>(0)?)
    }

    /// The texts that a query selects in its only column.
    pub async fn texts(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let rows = self.all(sql).await?;
        rows.iter().map(|row| Ok(row.try_get_by_index::<String>(0)?)).collect()
    }

    /// Changes rows, for what no RPC of this release can bring about.
    pub async fn change(&self, sql: &str) -> anyhow::Result<()> {
        self.0.execute_unprepared(sql).await?;
        Ok(())
    }

    /// How many rows each of these tables has.
    pub async fn counts(&self, tables: &[&str]) -> anyhow::Result<Vec<(String, i64)>> {
        let mut counts = Vec::new();
        for table in tables {
            counts.push(((*table).to_owned(), self.number(&format!("SELECT COUNT(*) FROM {table}")).await?));
        }
        Ok(counts)
    }
}
