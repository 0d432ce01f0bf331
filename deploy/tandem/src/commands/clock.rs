//! `tandem clock`: the business time of a process on a movable clock.

use clap::Subcommand;
use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};
use tandem_proto::common::v1::{AdvanceClockRequest, GetClockRequest};

use crate::cli::{Global, Once};
use crate::client::{Clients, present};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

/// Show or move the business clock of a `tandem up --test-clock`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem clock show
  tandem clock advance --by 1d
  tandem clock advance --to 2026-03-02T00:05:00+08:00

A clock only moves forward. All services of one `tandem up` share one clock.")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Tell the business time
    Show,
    /// Move the clock forward
    Advance {
        /// The new time, RFC 3339
        #[arg(long, value_name = "TIME", required_unless_present = "by", conflicts_with = "by")]
        to: Option<Timestamp>,
        /// How far, such as 90m, 36h, 1d or "2 weeks"
        #[arg(long, value_name = "SPAN", value_parser = span)]
        by: Option<SignedDuration>,
        #[command(flatten)]
        once: Once,
    },
}

fn span(text: &str) -> Result<SignedDuration, String> {
    let wrong = || "write a span such as 90m, 36h, 1d or \"2 weeks\"".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    // Days of 24 hours: the clock is UTC, which never changes by an hour.
    let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let length = span.to_duration(&start).map_err(|_| wrong())?;
    if length.is_positive() { Ok(length) } else { Err("a clock only moves forward".to_owned()) }
}

/// Shows or moves the clock.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let clients = global.clients()?;
    let now = match args.act {
        Act::Show => now(&clients).await?,
        Act::Advance { to, by, once } => {
            let to = match (to, by) {
                (Some(to), _) => to,
                (None, Some(by)) => {
                    now(&clients).await?.checked_add(by).attempt(|| "moving the clock".to_owned())?
                }
                (None, None) => return Err(Failure::Usage("name --to or --by".to_owned())),
            };
            advance(&clients, to, &once.id()).await?
        }
    };
    global.output().record(&Table::of_one(vec![("now", Cell::Time(now))]))
}

/// The business time.
pub async fn now(clients: &Clients) -> Result<Timestamp> {
    let answer = clients.console_clock().get_clock(GetClockRequest {}).await.map_err(explain)?.into_inner();
    instant(answer.now_time)
}

/// Moves the clock of every process; in one process they share it, and the second move changes nothing.
pub async fn advance(clients: &Clients, to: Timestamp, request_id: &str) -> Result<Timestamp> {
    let to_time = Some(tandem_service_kit::validate::to_message(to));
    let request = AdvanceClockRequest { request_id: request_id.to_owned(), to_time };
    let of_act = |status| Failure::of_act(status, request_id);
    clients.console_clock().advance_clock(request.clone()).await.map_err(explain)?;
    clients.gateway_clock().advance_clock(request.clone()).await.map_err(of_act)?;
    let answer = clients.billing_clock().advance_clock(request).await.map_err(of_act)?;
    instant(answer.into_inner().now_time)
}

fn explain(status: tonic::Status) -> Failure {
    if status.code() == tonic::Code::Unimplemented {
        return Failure::failed("this process runs on the machine's own time; start it with --test-clock");
    }
    status.into()
}

fn instant(time: Option<prost_types::Timestamp>) -> Result<Timestamp> {
    let time = present(time, "now_time")?;
    Timestamp::new(time.seconds, time.nanos).attempt(|| "reading the service's time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(span("1d"), Ok(SignedDuration::from_hours(24)));
        assert_eq!(span("90m"), Ok(SignedDuration::from_mins(90)));
        assert_eq!(span("2 weeks"), Ok(SignedDuration::from_hours(14 * 24)));
        for bad in ["", "1", "-1d", "0s", "soon"] {
            assert!(span(bad).is_err(), "accepted {bad}");
        }
    }
}
