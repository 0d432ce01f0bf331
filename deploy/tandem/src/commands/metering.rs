//! `tandem metering`: usage that was submitted to the clouds, and the records that wait for a decision.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1::{
    ListMeteringRecordsRequest, MeteringRecord, MeteringResolution, MeteringState,
    ResolveMeteringRecordRequest,
};

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, Listed, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Usage that was submitted to the clouds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem metering list --state unknown
  tandem metering resolve mtr_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --as accepted --note \"on the cloud's bill of 2 March\"

A record whose outcome is unknown is never sent again by itself: look at the cloud's bill, then decide.")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List records, newest first
    List {
        /// Only records in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only this subscription's, sub_…
        #[arg(long, default_value = "", hide_default_value = true)]
        subscription: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Decide a record that is unknown or refused
    Resolve {
        /// The record, mtr_…
        record: String,
        /// What became of it
        #[arg(long = "as", value_enum)]
        resolution: Resolution,
        /// Why, at most 500 characters
        #[arg(long)]
        note: String,
        #[command(flatten)]
        once: Once,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Resolution {
    /// The cloud's bill shows that it was taken
    Accepted,
    /// The cloud does not have it: settle its bills by the Billing Center
    BillingCenter,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// To be sent
    Pending,
    /// Being sent
    Sending,
    /// Taken by the cloud
    Accepted,
    /// Was there already with the same quantity
    DuplicateSame,
    /// Refused by the cloud
    Refused,
    /// Too late; settled by the Billing Center
    Expired,
    /// Not known whether it was taken
    Unknown,
    /// Settled by the Billing Center by an operator
    Moved,
}

impl State {
    fn to_message(self) -> MeteringState {
        match self {
            State::Pending => MeteringState::Pending,
            State::Sending => MeteringState::Sending,
            State::Accepted => MeteringState::Accepted,
            State::DuplicateSame => MeteringState::DuplicateSame,
            State::Refused => MeteringState::Refused,
            State::Expired => MeteringState::Expired,
            State::Unknown => MeteringState::Unknown,
            State::Moved => MeteringState::Moved,
        }
    }
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::List { state, subscription, limit } => {
            let state = state.map_or(MeteringState::Unspecified, State::to_message);
            let records = list(&clients, state, &subscription, limit.limit).await?;
            output.list(&records_table(&records.rows), records.more)
        }
        Act::Resolve { record, resolution, note, once } => {
            let request_id = once.id();
            let resolution = match resolution {
                Resolution::Accepted => MeteringResolution::Accepted,
                Resolution::BillingCenter => MeteringResolution::BillingCenter,
            };
            let request = ResolveMeteringRecordRequest {
                request_id: request_id.clone(),
                metering_record_id: record,
                resolution: resolution.into(),
                note,
            };
            let answer = clients.marketplace().resolve_metering_record(request).await;
            let record = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().record;
            output.record(&records_table(&[present(record, "record")?]))
        }
    }
}

/// Records, newest first; of all subscriptions when `subscription` is empty.
pub async fn list(
    clients: &Clients,
    state: MeteringState,
    subscription: &str,
    limit: usize,
) -> Result<Listed<MeteringRecord>> {
    let records = all_pages(limit, |page_token| async move {
        let request = ListMeteringRecordsRequest {
            state: state.into(),
            subscription_id: subscription.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.marketplace().list_metering_records(request).await?.into_inner();
        Ok((page.records, page.next_page_token))
    });
    records.await
}

/// Records as a table.
pub fn records_table(records: &[MeteringRecord]) -> Table {
    let mut table = Table::new(&[
        "id",
        "subscription_id",
        "dimension",
        "start",
        "end",
        "quantity",
        "amount",
        "bills",
        "state",
        "attempts",
        "vendor_code",
        "deadline",
        "decided_at",
    ]);
    for record in records {
        table.row([
            Cell::text(&record.id),
            Cell::text(&record.subscription_id),
            Cell::text(&record.dimension),
            Cell::time(record.start_time),
            Cell::time(record.end_time),
            Cell::Number(record.quantity),
            Cell::money(record.amount.as_ref()),
            Cell::List(record.bill_ids.clone()),
            Cell::name(record.state().as_str_name(), "METERING_STATE_"),
            Cell::Number(record.attempts.into()),
            Cell::text(&record.vendor_code),
            Cell::time(record.deadline_time),
            Cell::time(record.decide_time),
        ]);
    }
    table
}
