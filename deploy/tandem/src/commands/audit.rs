//! `tandem audit`: who tried to change what in the Console and in Billing, and whether anybody touched that record.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tandem_proto::common::v1::audit_service_client::AuditServiceClient;
use tandem_proto::common::v1::{
    AuditBreak, AuditHead, AuditOutcome, AuditRow, ListAuditRequest, ProveAuditRequest,
};

use crate::cli::{Global, Limit};
use crate::client::{Clients, PAGE_SIZE, Wire, all_pages};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

/// Heads that one call may bring along (contract).
const KNOWN_MAX: usize = 500;

/// Who tried to change what: list it, prove that nobody touched it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem audit list --outcome refused            what was turned away, newest first
  tandem audit list --object bac_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --since 2026-03-01T00:00:00Z
  tandem audit list --service billing --method Approve
  tandem audit prove                             exit code 4 when a row was changed, removed or put in
  tandem audit prove --save heads.json           keep the ends of all chains, outside the database
  tandem audit prove --against heads.json        also find an end that was cut off since then")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List attempts, newest first
    List {
        /// Only this service's
        #[arg(long, value_enum)]
        service: Option<Service>,
        /// From this instant on, such as 2026-03-01T00:00:00Z
        #[arg(long, value_name = "INSTANT")]
        since: Option<Timestamp>,
        /// Before this instant
        #[arg(long, value_name = "INSTANT")]
        until: Option<Timestamp>,
        /// Only of this caller
        #[arg(long, value_name = "NAME", default_value = "")]
        principal: String,
        /// Only of this method: its name, or its path
        #[arg(long, value_name = "METHOD", default_value = "")]
        method: String,
        /// Only about this object: any id
        #[arg(long, value_name = "ID", default_value = "")]
        object: String,
        /// Only that ended so [default: all but anchors]
        #[arg(long, value_enum)]
        outcome: Option<Outcome>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Recompute every chain of hashes
    Prove {
        /// Only this service's
        #[arg(long, value_enum)]
        service: Option<Service>,
        /// Write the heads of all chains to this file
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Compare with the heads that --save wrote earlier
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
}

/// A service that keeps an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// The Console
    Console,
    /// Billing
    Billing,
}

impl Service {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Service::Console => "console",
            Service::Billing => "billing",
        }
    }

    fn client(self, clients: &Clients) -> AuditServiceClient<Wire> {
        match self {
            Service::Console => clients.console_audit(),
            Service::Billing => clients.billing_audit(),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    /// Had its effect
    Accepted,
    /// Had been made before
    Repeated,
    /// Changed nothing
    Refused,
    /// Broke off
    Failed,
    /// No attempt: heads of chains
    Anchor,
}

/// A chain's end as it is kept in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    service: String,
    chain: String,
    number: i64,
    hash: String,
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let clients = global.clients()?;
    match args.act {
        Act::List { service, since, until, principal, method, object, outcome, limit } => {
            let request = ListAuditRequest {
                start_time: since.map(message),
                end_time: until.map(message),
                principal,
                method,
                object,
                outcome: outcome.map_or(AuditOutcome::Unspecified, outcome_message).into(),
                page_size: PAGE_SIZE,
                page_token: String::new(),
            };
            list(global, &clients, service, request, limit.limit).await
        }
        Act::Prove { service, save, against } => {
            prove(global, &clients, service, save.as_deref(), against.as_deref()).await
        }
    }
}

async fn list(
    global: &Global,
    clients: &Clients,
    service: Option<Service>,
    request: ListAuditRequest,
    limit: usize,
) -> Result<()> {
    let (mut rows, mut more) = (Vec::new(), false);
    for service in asked(service) {
        let found = all_pages(limit, |page_token| {
            let request = ListAuditRequest { page_token, ..request.clone() };
            async move {
                let page = service.client(clients).list_audit(request).await?.into_inner();
                Ok((page.rows, page.next_page_token))
            }
        });
        let found = found.await?;
        more |= found.more;
        rows.extend(found.rows.into_iter().map(|row| (service, row)));
    }
    // Both services' rows as one list; each is in this order already.
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.time.map(|time| (time.seconds, time.nanos))));
    more |= rows.len() > limit;
    rows.truncate(limit);
    global.output().list(&rows_table(&rows), more)
}

/// Attempts as a table.
pub fn rows_table(rows: &[(Service, AuditRow)]) -> Table {
    let mut table = Table::new(&[
        "at",
        "service",
        "principal",
        "role",
        "method",
        "outcome",
        "reason",
        "attempts",
        "objects",
        "request_id",
        "place",
    ]);
    for (service, row) in rows {
        let method = row.method.rsplit('/').next().unwrap_or_default();
        table.row([
            Cell::time(row.time),
            Cell::text(service.name()),
            Cell::text(&row.principal),
            Cell::name(row.role().as_str_name(), "ROLE_"),
            Cell::text(method),
            Cell::name(row.outcome().as_str_name(), "AUDIT_OUTCOME_"),
            Cell::text(&row.reason),
            Cell::Number(row.attempt_count),
            Cell::List(row.object_ids.clone()),
            Cell::text(&row.request_id),
            Cell::text(format!("{}:{}", row.chain, row.number)),
        ]);
    }
    table
}

/// What the proof of one service found.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows that were looked at.
    pub rows: i64,
    /// Rows made without a key.
    pub unkeyed: i64,
    /// Where the chains are broken.
    pub breaks: Vec<AuditBreak>,
    /// Where the chains end.
    pub heads: Vec<AuditHead>,
}

async fn prove(
    global: &Global,
    clients: &Clients,
    service: Option<Service>,
    save: Option<&Path>,
    against: Option<&Path>,
) -> Result<()> {
    let known = against.map(read).transpose()?.unwrap_or_default();
    let output = global.output();
    let mut summary = Table::new(&["service", "rows", "without_key", "chains", "breaks"]);
    let mut breaks = Table::new(&["service", "chain", "number", "kind", "at"]);
    let (mut kept, mut broken) = (Vec::new(), 0_usize);
    for service in asked(service) {
        let known: Vec<AuditHead> = known
            .iter()
            .filter(|head| head.service == service.name())
            .map(|head| AuditHead { chain: head.chain.clone(), number: head.number, hash: head.hash.clone() })
            .collect();
        let found = prove_service(clients, service, known).await?;
        let count = |n: usize| Cell::Number(i64::try_from(n).unwrap_or(i64::MAX));
        summary.row([
            Cell::text(service.name()),
            Cell::Number(found.rows),
            Cell::Number(found.unkeyed),
            count(found.heads.len()),
            count(found.breaks.len()),
        ]);
        for one in &found.breaks {
            breaks.row([
                Cell::text(service.name()),
                Cell::text(&one.chain),
                Cell::Number(one.number),
                Cell::name(one.kind().as_str_name(), "AUDIT_BREAK_KIND_"),
                Cell::time(one.time),
            ]);
        }
        broken += found.breaks.len();
        kept.extend(found.heads.into_iter().map(|head| Kept {
            service: service.name().to_owned(),
            chain: head.chain,
            number: head.number,
            hash: head.hash,
        }));
    }
    if global.json {
        output.value(&json!({ "services": summary.to_json(), "breaks": breaks.to_json() }))?;
    } else {
        output.table(&summary)?;
        if broken > 0 {
            output.say("")?;
            output.table(&breaks)?;
        }
    }
    if broken > 0 {
        return Err(Failure::Proof(format!("the audit is broken in {broken} places")));
    }
    // Only the ends of a sound audit are worth comparing with.
    save.map_or(Ok(()), |path| write(path, &kept))
}

/// Recomputes every chain of a service and compares it with heads that were kept.
pub async fn prove_service(clients: &Clients, service: Service, known: Vec<AuditHead>) -> Result<Found> {
    let mut found = Found::default();
    let mut known = known.chunks(KNOWN_MAX).map(<[AuditHead]>::to_vec).collect::<Vec<_>>().into_iter();
    let mut page_token = String::new();
    let mut walked = false;
    // Each page takes some of the known heads along; when the pages end first, the rest goes with the last row again.
    loop {
        let known_heads = known.next().unwrap_or_default();
        let brought = !known_heads.is_empty();
        if walked && !brought {
            return Ok(found);
        }
        let size = if walked { 1 } else { 0 };
        let request = ProveAuditRequest { known_heads, page_size: size, page_token: page_token.clone() };
        let page = service.client(clients).prove_audit(request).await?.into_inner();
        if walked {
            // Rows of this page were counted before; only the heads are new.
            let missing = |b: &AuditBreak| b.kind() == tandem_proto::common::v1::AuditBreakKind::HeadMissing;
            found.breaks.extend(page.breaks.into_iter().filter(missing));
            continue;
        }
        found.rows += page.row_count;
        found.unkeyed += page.unkeyed_row_count;
        found.breaks.extend(page.breaks);
        found.heads.extend(page.heads);
        if page.next_page_token.is_empty() {
            walked = true;
        } else {
            page_token = page.next_page_token;
        }
    }
}

fn asked(service: Option<Service>) -> Vec<Service> {
    service.map_or_else(|| vec![Service::Console, Service::Billing], |one| vec![one])
}

fn message(at: Timestamp) -> prost_types::Timestamp {
    tandem_service_kit::validate::to_message(at)
}

fn outcome_message(outcome: Outcome) -> AuditOutcome {
    match outcome {
        Outcome::Accepted => AuditOutcome::Accepted,
        Outcome::Repeated => AuditOutcome::Repeated,
        Outcome::Refused => AuditOutcome::Refused,
        Outcome::Failed => AuditOutcome::Failed,
        Outcome::Anchor => AuditOutcome::Anchor,
    }
}

fn read(path: &Path) -> Result<Vec<Kept>> {
    let text = std::fs::read_to_string(path).attempt(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).attempt(|| format!("{} is no file that --save wrote", path.display()))
}

fn write(path: &Path, kept: &[Kept]) -> Result<()> {
    let text = serde_json::to_string_pretty(kept).attempt(|| "writing JSON".to_owned())?;
    std::fs::write(path, text + "\n").attempt(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_heads_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.json");
        let kept =
            vec![Kept { service: "billing".into(), chain: "ab-0".into(), number: 3, hash: "0f".into() }];
        write(&path, &kept).unwrap();
        assert_eq!(read(&path).unwrap(), kept);
        std::fs::write(&path, "no").unwrap();
        assert!(read(&path).unwrap_err().block().contains("--save"));
    }
}
