//! `tandem bill export`: writes bills, monthly totals or the ledger as CSV.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tandem_proto::billing::v1::export_bills_request::What;
use tandem_proto::billing::v1::{ExportBillsRequest, ExportDailyLines, ExportLedger, ExportMonthlyTotals};
use tandem_proto::day::UsageDay;
use tandem_proto::month::Month;

use crate::cli::Global;
use crate::failure::{Attempt as _, Failure, Result};

/// What is exported.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Every line of the daily bills; --from and --to are days
    Lines,
    /// What each workspace's items cost in each month; --from and --to are months
    Monthly,
    /// Income and expenditure; --from and --to are instants such as 2026-03-01T00:00:00Z, and may be left out
    Ledger,
}

/// Write CSV that spreadsheets read: UTF-8 with a byte order mark, exact decimals.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tandem bill export --account lin_teahouse lines --from 2026-03-01 --to 2026-03-31 --output march.csv
  tandem bill export --account lin_teahouse monthly --from 2026-01 --to 2026-12 > year.csv
  tandem bill export --account lin_teahouse ledger")]
pub struct Export {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// What is exported
    #[arg(value_enum)]
    kind: Kind,
    /// The first day, month or instant
    #[arg(long)]
    from: Option<String>,
    /// The last day or month, or the instant before which to stop
    #[arg(long)]
    to: Option<String>,
    /// With lines: only this workspace's, wks_…
    #[arg(long, default_value = "", hide_default_value = true)]
    workspace: String,
    /// With ledger: also our books, not only the customer's own balances and debt
    #[arg(long)]
    books: bool,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the export.
pub async fn run(global: &Global, args: Export) -> Result<()> {
    let what = what(&args)?;
    let clients = global.clients()?;
    let billing_account_id = clients.billing_account_id(&args.account).await?;
    let request = ExportBillsRequest { billing_account_id, what: Some(what) };
    let mut parts = clients.bills().export_bills(request).await?.into_inner();
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => {
            Box::new(std::fs::File::create(path).attempt(|| format!("creating {}", path.display()))?)
        }
        None => Box::new(std::io::stdout()),
    };
    while let Some(part) = parts.message().await? {
        match out.write_all(&part.data) {
            // `tandem bill export … | head` is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.attempt(|| "writing the export".to_owned())?,
        }
    }
    out.flush().attempt(|| "writing the export".to_owned())
}

fn what(args: &Export) -> Result<What> {
    let both = || match (&args.from, &args.to) {
        (Some(from), Some(to)) => Ok((from, to)),
        _ => Err(Failure::Usage("--from and --to are needed".to_owned())),
    };
    Ok(match args.kind {
        Kind::Lines => {
            let (from, to) = both()?;
            let (start_day, end_day): (UsageDay, UsageDay) = (read("--from", from)?, read("--to", to)?);
            What::DailyLines(ExportDailyLines {
                start_day: start_day.to_string(),
                end_day: end_day.to_string(),
                workspace_id: args.workspace.clone(),
            })
        }
        Kind::Monthly => {
            let (from, to) = both()?;
            let (start_month, end_month): (Month, Month) = (read("--from", from)?, read("--to", to)?);
            let (start_month, end_month) = (start_month.to_string(), end_month.to_string());
            What::MonthlyTotals(ExportMonthlyTotals { start_month, end_month })
        }
        Kind::Ledger => What::Ledger(ExportLedger {
            start_time: instant("--from", args.from.as_deref())?,
            end_time: instant("--to", args.to.as_deref())?,
            with_books: args.books,
        }),
    })
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(flag: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error| Failure::Usage(format!("{flag}: {error}")))
}

fn instant(flag: &str, text: Option<&str>) -> Result<Option<prost_types::Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let at: Timestamp = read(flag, text)?;
    Ok(Some(tandem_service_kit::validate::to_message(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(kind: Kind, from: Option<&str>, to: Option<&str>) -> Export {
        let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
        let (account, workspace) = (String::new(), String::new());
        Export { account, kind, from, to, workspace, books: false, output: None }
    }

    #[test]
    fn ranges_are_days_months_or_instants() {
        assert!(matches!(
            what(&args(Kind::Lines, Some("2026-03-01"), Some("2026-03-31"))),
            Ok(What::DailyLines(_))
        ));
        assert!(matches!(
            what(&args(Kind::Monthly, Some("2026-03"), Some("2026-03"))),
            Ok(What::MonthlyTotals(_))
        ));
        assert!(matches!(what(&args(Kind::Ledger, None, None)), Ok(What::Ledger(_))));
        for (kind, from) in
            [(Kind::Lines, "2026-03"), (Kind::Monthly, "2026-03-01"), (Kind::Ledger, "2026-03-01")]
        {
            let failure = what(&args(kind, Some(from), Some(from))).unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{failure}");
        }
        assert!(what(&args(Kind::Lines, Some("2026-03-01"), None)).is_err());
    }
}
