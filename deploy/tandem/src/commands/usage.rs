//! `tandem usage`: records usage from a file, shows it, closes a day.

use std::io::BufReader;
use std::path::PathBuf;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use tandem_proto::console::v1::{CloseUsageDayRequest, DailyUsage, ListUsageRequest};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::WorkspaceId;

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, Listed, PAGE_SIZE, all_pages};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Output, Table, progress_is_seen};
use crate::usage_file::{Format, Import, Parser, Report, digest};

/// Usage: import from a file, show, close a day.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Record the points of a file
    ///
    /// CSV starts with a line that names the columns, in any order: workspace_id, hour, item, quantity, and where they
    /// are needed measure, retention_days, sub_key. NDJSON has one object a line with the same names.
    ///
    /// A bad line is named and costs nothing but itself. Importing the same file again is safe: its calls have the same
    /// ids, so each is answered as it was the first time.
    #[command(after_help = "\
Examples:
  tandem usage import day.csv
  tandem usage import points.ndjson --workspace wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f
  zcat day.csv.gz > day.csv && tandem --json usage import day.csv

A CSV file:
  workspace_id,hour,item,measure,retention_days,sub_key,quantity
  wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f,2026-03-01T08:00:00+08:00,LOG_COUNT,,7,,83333

The exit code is 1 when any line was refused.")]
    Import {
        /// The file
        file: PathBuf,
        /// How it is written [default: what its name says: .csv, .ndjson, .jsonl]
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// The workspace of lines that name none, wks_…
        #[arg(long)]
        workspace: Option<WorkspaceId>,
        /// Most refused lines that are shown; all are counted
        #[arg(long, value_name = "LINES", default_value_t = 20)]
        show: usize,
    },
    /// Show a workspace's daily quantities
    #[command(after_help = "\
Examples:
  tandem usage show wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --from 2026-03-01 --to 2026-03-31")]
    Show {
        /// The workspace, wks_…
        workspace: WorkspaceId,
        /// First day, YYYY-MM-DD in the site's zone
        #[arg(long, value_name = "DAY")]
        from: UsageDay,
        /// Last day, inclusive [default: the first]
        #[arg(long, value_name = "DAY")]
        to: Option<UsageDay>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Close a site's usage day now instead of waiting until it closes by itself
    #[command(after_help = "\
Examples:
  tandem usage close-day --site cn1 --day 2026-03-01")]
    CloseDay {
        /// The site's code, such as cn1
        #[arg(long)]
        site: String,
        /// The usage day, YYYY-MM-DD in the site's zone
        #[arg(long)]
        day: UsageDay,
        #[command(flatten)]
        once: Once,
    },
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let output = global.output();
    match args.act {
        Act::Import { file, format, workspace, show } => {
            let format = format.or_else(|| Format::of(&file)).ok_or_else(|| {
                Failure::Usage(format!(
                    "{} does not say how it is written; name it with --format",
                    file.display()
                ))
            })?;
            let report = import(&global.clients()?, &file, format, workspace).await?;
            show_report(&output, &report, show)?;
            match report.refused {
                0 => Ok(()),
                refused => {
                    Err(Failure::failed(format!("{refused} lines were refused; the others are recorded")))
                }
            }
        }
        Act::Show { workspace, from, to, limit } => {
            let to = to.unwrap_or(from);
            if to < from {
                return Err(Failure::Usage(format!("--to {to} lies before --from {from}")));
            }
            let usage = list(&global.clients()?, workspace.as_str(), from, to, limit.limit).await?;
            output.list(&usage_table(&usage.rows), usage.more)
        }
        Act::CloseDay { site, day, once } => {
            let request_id = once.id();
            let request = CloseUsageDayRequest {
                request_id: request_id.clone(),
                site: site.clone(),
                usage_day: day.to_string(),
            };
            let answer = global.clients()?.usage().close_usage_day(request).await;
            let closed = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
            output.record(&Table::of_one(vec![
                ("site", Cell::text(site)),
                ("usage_day", Cell::text(day.to_string())),
                ("delivered", Cell::Number(closed.delivered_count)),
            ]))
        }
    }
}

async fn import(
    clients: &Clients,
    file: &PathBuf,
    format: Format,
    workspace: Option<WorkspaceId>,
) -> Result<Report> {
    let attempt = || format!("reading {}", file.display());
    let digest = digest(file, format, workspace.as_ref())?;
    let opened = std::fs::File::open(file).attempt(attempt)?;
    let bytes = opened.metadata().attempt(attempt)?.len();
    let bar = progress_bar(bytes);
    let parser = Parser::new(BufReader::with_capacity(1 << 16, opened), format, workspace)?;
    let report = Import::new(digest).run(clients, parser, |read, report| {
        bar.set_position(read);
        bar.set_message(format!("{} points", report.total()));
    });
    let report = report.await;
    bar.finish_and_clear();
    report
}

fn progress_bar(bytes: u64) -> ProgressBar {
    if !progress_is_seen() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    // The template is ours; should it ever be wrong, indicatif's own is good enough.
    match ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}  {bytes_per_sec}  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show_report(output: &Output, report: &Report, show: usize) -> Result<()> {
    if output.json {
        return output.value(&report.to_json());
    }
    if !report.named.is_empty() {
        let mut table = Table::new(&["line", "reason", "message"]);
        for refused in report.named.iter().take(show) {
            let line = i64::try_from(refused.line).unwrap_or(i64::MAX);
            table.row([Cell::Number(line), Cell::text(&refused.reason), Cell::text(&refused.message)]);
        }
        output.table(&table)?;
        let shown = u64::try_from(show.min(report.named.len())).unwrap_or(u64::MAX);
        if shown < report.refused {
            output.say(&format!("and {} more", report.refused - shown))?;
        }
    }
    output.say(&report.summary())
}

/// A workspace's daily quantities.
pub async fn list(
    clients: &Clients,
    workspace: &str,
    from: UsageDay,
    to: UsageDay,
    limit: usize,
) -> Result<Listed<DailyUsage>> {
    let usage = all_pages(limit, |page_token| async move {
        let request = ListUsageRequest {
            workspace_id: workspace.to_owned(),
            acting_account_id: String::new(),
            start_day: from.to_string(),
            end_day: to.to_string(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.usage().list_usage(request).await?.into_inner();
        Ok((page.usage, page.next_page_token))
    });
    usage.await
}

fn usage_table(usage: &[DailyUsage]) -> Table {
    let mut table =
        Table::new(&["usage_day", "item", "retention_days", "sub_key", "quantity", "revision", "delivered"]);
    for row in usage {
        table.row([
            Cell::text(&row.usage_day),
            Cell::name(row.item().as_str_name(), "BILLING_ITEM_"),
            if row.retention_days == 0 { Cell::Absent } else { Cell::Number(row.retention_days.into()) },
            Cell::text(&row.sub_key),
            Cell::quantity(row.quantity_hundredths),
            Cell::Number(row.revision),
            Cell::Flag(row.delivered),
        ]);
    }
    table
}
