//! `tandem outbox`: what is on its way out of the Console and of Billing.

use clap::{Subcommand, ValueEnum};
use tandem_proto::common::v1::{
    ListOutboxMessagesRequest, OutboxMessage, OutboxState, RedriveOutboxMessageRequest,
};
use tandem_proto::reason::Reason;

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// What is on its way out of the services: mail, deliveries, follow-up work.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem outbox list                            what is not delivered yet, of both services
  tandem outbox list --state quarantined
  tandem outbox redrive obx_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f
  tandem --json outbox list --state quarantined | jq -r '.[].id' | xargs -n1 tandem outbox redrive")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List messages, oldest first
    List {
        /// Only messages in this state [default: all that are not delivered]
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only this service's
        #[arg(long, value_enum)]
        service: Option<Service>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Send a quarantined message again
    Redrive {
        /// The message, obx_…
        message: String,
        /// Whose it is [default: both are asked]
        #[arg(long, value_enum)]
        service: Option<Service>,
        #[command(flatten)]
        once: Once,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    /// The Console
    Console,
    /// Billing
    Billing,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Service::Console => "console",
            Service::Billing => "billing",
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// Waiting for its next try
    Pending,
    /// Delivered
    Delivered,
    /// Given up; waits for an operator
    Quarantined,
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::List { state, service, limit } => {
            let state = match state {
                None => OutboxState::Unspecified,
                Some(State::Pending) => OutboxState::Pending,
                Some(State::Delivered) => OutboxState::Delivered,
                Some(State::Quarantined) => OutboxState::Quarantined,
            };
            let mut table = table();
            let mut more = false;
            for service in asked(service) {
                let messages = all_pages(limit.limit, |page_token| {
                    let (clients, request) = (
                        &clients,
                        ListOutboxMessagesRequest { state: state.into(), page_size: PAGE_SIZE, page_token },
                    );
                    async move {
                        let page = client(clients, service).list_outbox_messages(request).await?.into_inner();
                        Ok((page.messages, page.next_page_token))
                    }
                });
                let messages = messages.await?;
                more |= messages.more;
                messages.rows.iter().for_each(|message| row(&mut table, service, message));
            }
            output.list(&table, more)
        }
        Act::Redrive { message, service, once } => {
            let request_id = once.id();
            let mut refused = None;
            for service in asked(service) {
                let request = RedriveOutboxMessageRequest {
                    request_id: request_id.clone(),
                    message_id: message.clone(),
                };
                match client(&clients, service).redrive_outbox_message(request).await {
                    Ok(answer) => {
                        let mut table = table();
                        row(&mut table, service, &present(answer.into_inner().message, "message")?);
                        return output.record(&table);
                    }
                    Err(status) => {
                        let failure = Failure::of_act(status, &request_id);
                        if failure.reason() != Some(Reason::ObjectNotFound) {
                            return Err(failure);
                        }
                        refused = Some(failure);
                    }
                }
            }
            Err(refused.unwrap_or_else(|| Failure::failed("no service was asked")))
        }
    }
}

fn asked(service: Option<Service>) -> Vec<Service> {
    service.map_or_else(|| vec![Service::Console, Service::Billing], |one| vec![one])
}

fn client(
    clients: &Clients,
    service: Service,
) -> tandem_proto::common::v1::outbox_service_client::OutboxServiceClient<crate::client::Wire> {
    match service {
        Service::Console => clients.console_outbox(),
        Service::Billing => clients.billing_outbox(),
    }
}

fn table() -> Table {
    Table::new(&[
        "service",
        "id",
        "topic",
        "aggregate_id",
        "state",
        "attempts",
        "created_at",
        "next_attempt_at",
        "last_error",
    ])
}

fn row(table: &mut Table, service: Service, message: &OutboxMessage) {
    table.row([
        Cell::text(service.name()),
        Cell::text(&message.id),
        Cell::text(&message.topic),
        Cell::text(&message.aggregate_id),
        Cell::name(message.state().as_str_name(), "OUTBOX_STATE_"),
        Cell::Number(message.attempts.into()),
        Cell::time(message.create_time),
        Cell::time(message.next_attempt_time),
        Cell::text(&message.last_error),
    ]);
}
