//! Every way a database can fail, sorted by what the caller can do about it.

use std::sync::Arc;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};
use tandem_proto::reason::Reason;

use crate::fault::Fault;

/// Why the store could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A unique key is taken, or a concurrent change won.
    #[error("a concurrent change won")]
    Conflict,
    /// A lock, a deadlock or a serialisation failure: the whole transaction may be tried again.
    #[error("the rows are in use")]
    Busy,
    /// No connection became free in time.
    #[error("no database connection is free")]
    Exhausted,
    /// The database is away, is full or cannot write.
    #[error("the database is unavailable")]
    Unavailable(#[source] Arc<DbErr>),
    /// A stored value is not what the code writes there.
    #[error("column {column} of {table} holds what was never written there")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A statement of the transaction failed before, so it was rolled back (`reliability.md` 4.1).
    #[error("an earlier statement of the transaction failed")]
    Poisoned,
    /// Any other failure: a fault of ours.
    #[error("the statement failed")]
    Database(#[source] Arc<DbErr>),
}

impl StoreError {
    /// Whether repeating the whole transaction may help at once.
    pub fn retryable(&self) -> bool {
        match self {
            StoreError::Conflict | StoreError::Busy => true,
            StoreError::Exhausted
            | StoreError::Unavailable(_)
            | StoreError::Corrupt { .. }
            | StoreError::Poisoned
            | StoreError::Database(_) => false,
        }
    }
}

/// What [`super::Tx`] answers after a failed statement; recognised again by [`sort`].
pub(super) const POISONED: &str = "an earlier statement of the transaction failed";

/// What a driver's error means.
enum Kind {
    Conflict,
    Busy,
    Unavailable,
    Other,
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> StoreError {
        let kind = match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => return StoreError::Exhausted,
            DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) => Kind::Unavailable,
            DbErr::Custom(text) if text == POISONED => return StoreError::Poisoned,
            DbErr::Conn(RuntimeErr::SqlxError(inner))
            | DbErr::Exec(RuntimeErr::SqlxError(inner))
            | DbErr::Query(RuntimeErr::SqlxError(inner)) => match inner.as_ref() {
                sqlx::Error::PoolTimedOut => return StoreError::Exhausted,
                inner => sort(inner),
            },
            // A connection error without a driver's error is a connection that could not be made.
            DbErr::Conn(_) => Kind::Unavailable,
            DbErr::RecordNotInserted => Kind::Conflict,
            _ => Kind::Other,
        };
        StoreError::of(kind, error)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return StoreError::Exhausted;
        }
        let kind = sort(&error);
        StoreError::of(kind, DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))))
    }
}

impl StoreError {
    fn of(kind: Kind, error: DbErr) -> StoreError {
        match kind {
            Kind::Conflict => StoreError::Conflict,
            Kind::Busy => StoreError::Busy,
            Kind::Unavailable => StoreError::Unavailable(Arc::new(error)),
            Kind::Other => StoreError::Database(Arc::new(error)),
        }
    }
}

fn sort(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(inner) => {
            if inner.is_unique_violation() {
                return Kind::Conflict;
            }
            match inner.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                Some(error) => sort_postgres(error.code()),
                None => inner.code().map_or(Kind::Other, |code| sort_sqlite(&code)),
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => Kind::Unavailable,
        // The enum is open, so a last arm has to be there: what is not known to pass by itself is a fault of ours.
        _ => Kind::Other,
    }
}

/// SQLSTATE codes, PostgreSQL documentation appendix A.
fn sort_postgres(code: &str) -> Kind {
    match code {
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => Kind::Busy,
        // query_canceled: the statement time limit; the rows or the machine are too busy.
        "57014" => Kind::Busy,
        // exclusion_violation
        "23P01" => Kind::Conflict,
        // admin_shutdown, crash_shutdown, cannot_connect_now, idle session and transaction limits,
        // read_only_sql_transaction (a primary that became a replica)
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" => Kind::Unavailable,
        // Class 08: connection. Class 53: disk full, out of memory, too many connections. Class 58: system error.
        code if ["08", "53", "58"].iter().any(|class| code.starts_with(class)) => Kind::Unavailable,
        _ => Kind::Other,
    }
}

/// SQLite's extended result codes as decimal text; the low byte is the primary code.
fn sort_sqlite(code: &str) -> Kind {
    let primary = code.parse::<u32>().map_or(0, |code| code & 0xff);
    match primary {
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => Kind::Busy,
        // SQLITE_NOMEM, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
        7 | 8 | 10 | 13 | 14 => Kind::Unavailable,
        _ => Kind::Other,
    }
}

impl From<StoreError> for Fault {
    /// Chooses the reason; a fault of ours is logged here, once, with its cause, which is never sent.
    fn from(error: StoreError) -> Fault {
        let reason = match &error {
            StoreError::Conflict | StoreError::Busy => Reason::Conflict,
            StoreError::Exhausted => Reason::Overloaded,
            StoreError::Unavailable(cause) => {
                tracing::warn!(error = %cause, "the database is unavailable");
                Reason::StorageUnavailable
            }
            StoreError::Database(cause) => {
                tracing::error!(error = %cause, "a statement failed");
                Reason::Internal
            }
            StoreError::Corrupt { .. } | StoreError::Poisoned => {
                tracing::error!(error = %error, "the store failed: {error}");
                Reason::Internal
            }
        };
        Fault::new(reason)
    }
}

impl From<StoreError> for tonic::Status {
    fn from(error: StoreError) -> tonic::Status {
        Fault::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_the_caller_can_do() {
        for code in ["40001", "40P01", "55P03", "57014"] {
            assert!(matches!(sort_postgres(code), Kind::Busy), "{code}");
        }
        for code in ["08006", "53100", "53300", "57P01", "58030"] {
            assert!(matches!(sort_postgres(code), Kind::Unavailable), "{code}");
        }
        assert!(matches!(sort_postgres("42601"), Kind::Other));
        // SQLITE_BUSY_SNAPSHOT, SQLITE_IOERR_WRITE, SQLITE_FULL, SQLITE_ERROR.
        assert!(matches!(sort_sqlite("517"), Kind::Busy));
        assert!(matches!(sort_sqlite("778"), Kind::Unavailable));
        assert!(matches!(sort_sqlite("13"), Kind::Unavailable));
        assert!(matches!(sort_sqlite("1"), Kind::Other));
    }

    #[test]
    fn reasons_follow_the_kind() {
        let reason = |error: StoreError| Fault::from(error).reason;
        assert_eq!(reason(StoreError::Conflict), Reason::Conflict);
        assert_eq!(reason(StoreError::Busy), Reason::Conflict);
        assert_eq!(reason(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout).into()), Reason::Overloaded);
        assert_eq!(reason(sqlx::Error::PoolClosed.into()), Reason::StorageUnavailable);
        assert_eq!(reason(StoreError::Poisoned), Reason::Internal);
        assert!(matches!(StoreError::from(DbErr::Custom(POISONED.to_owned())), StoreError::Poisoned));
    }
}
