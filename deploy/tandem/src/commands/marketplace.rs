//! `tandem marketplace`: what the clouds announced, and the purchases it made.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1::{
    ListMarketplaceEventsRequest, ListSubscriptionsRequest, MarketplaceEvent, MarketplaceEventState,
    MarketplaceSubscription, ReplayMarketplaceEventRequest,
};

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, Listed, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Purchases in the clouds' markets: events, replay, subscriptions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem marketplace events --state quarantined
  tandem marketplace replay mev_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f
  tandem marketplace subscriptions --account lin_teahouse")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List the events that clouds announced, newest first
    Events {
        /// Only events in this state
        #[arg(long, value_enum)]
        state: Option<EventState>,
        /// Only events of this purchase, by its number at the cloud
        #[arg(long, default_value = "", hide_default_value = true)]
        instance: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Apply an event again that was quarantined or parked
    Replay {
        /// The event, mev_…
        event: String,
        #[command(flatten)]
        once: Once,
    },
    /// List purchases
    Subscriptions {
        /// Only this account's: its id, bac_…, or its username
        #[arg(long)]
        account: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EventState {
    /// Recorded, not yet applied
    Pending,
    /// Applied
    Applied,
    /// Refused
    Refused,
    /// Given up; waits for an operator
    Quarantined,
}

impl EventState {
    fn to_message(self) -> MarketplaceEventState {
        match self {
            EventState::Pending => MarketplaceEventState::Pending,
            EventState::Applied => MarketplaceEventState::Applied,
            EventState::Refused => MarketplaceEventState::Refused,
            EventState::Quarantined => MarketplaceEventState::Quarantined,
        }
    }
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::Events { state, instance, limit } => {
            let state = state.map_or(MarketplaceEventState::Unspecified, EventState::to_message);
            let events = events(&clients, state, &instance, limit.limit).await?;
            output.list(&events_table(&events.rows), events.more)
        }
        Act::Replay { event, once } => {
            let request_id = once.id();
            let request =
                ReplayMarketplaceEventRequest { request_id: request_id.clone(), marketplace_event_id: event };
            let answer = clients.marketplace().replay_marketplace_event(request).await;
            let event = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().event;
            output.record(&events_table(&[present(event, "event")?]))
        }
        Act::Subscriptions { account, limit } => {
            let account = match account {
                Some(name) => clients.billing_account_id(&name).await?,
                None => String::new(),
            };
            let subscriptions = subscriptions(&clients, &account, limit.limit).await?;
            output.list(&subscriptions_table(&subscriptions.rows), subscriptions.more)
        }
    }
}

/// Events that clouds announced, newest first.
pub async fn events(
    clients: &Clients,
    state: MarketplaceEventState,
    instance: &str,
    limit: usize,
) -> Result<Listed<MarketplaceEvent>> {
    let events = all_pages(limit, |page_token| async move {
        let request = ListMarketplaceEventsRequest {
            state: state.into(),
            vendor_instance_id: instance.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.marketplace().list_marketplace_events(request).await?.into_inner();
        Ok((page.events, page.next_page_token))
    });
    events.await
}

/// Purchases by id; of all accounts when `account` is empty.
pub async fn subscriptions(
    clients: &Clients,
    account: &str,
    limit: usize,
) -> Result<Listed<MarketplaceSubscription>> {
    let subscriptions = all_pages(limit, |page_token| async move {
        let request = ListSubscriptionsRequest {
            billing_account_id: account.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.marketplace().list_subscriptions(request).await?.into_inner();
        Ok((page.subscriptions, page.next_page_token))
    });
    subscriptions.await
}

/// Events as a table.
pub fn events_table(events: &[MarketplaceEvent]) -> Table {
    let mut table = Table::new(&[
        "id",
        "received_at",
        "vendor",
        "kind",
        "instance",
        "account",
        "order",
        "state",
        "reason",
        "deliveries",
        "decided_at",
    ]);
    for event in events {
        let announced = event.announced.clone().unwrap_or_default();
        table.row([
            Cell::text(&event.id),
            Cell::time(event.receive_time),
            Cell::name(announced.vendor().as_str_name(), "VENDOR_"),
            Cell::name(announced.kind().as_str_name(), "MARKETPLACE_EVENT_KIND_"),
            Cell::text(&announced.vendor_instance_id),
            Cell::text(&announced.vendor_account_id),
            Cell::text(&announced.vendor_order_id),
            Cell::name(event.state().as_str_name(), "MARKETPLACE_EVENT_STATE_"),
            Cell::text(&event.reason),
            Cell::Number(event.delivery_count.into()),
            Cell::time(event.decide_time),
        ]);
    }
    table
}

/// Purchases as a table.
pub fn subscriptions_table(subscriptions: &[MarketplaceSubscription]) -> Table {
    let mut table = Table::new(&[
        "id",
        "vendor",
        "market",
        "instance",
        "account",
        "billing_account_id",
        "product",
        "plan",
        "state",
        "trial",
        "expires_at",
        "activated_at",
        "closed_at",
    ]);
    for subscription in subscriptions {
        table.row([
            Cell::text(&subscription.id),
            Cell::name(subscription.vendor().as_str_name(), "VENDOR_"),
            Cell::name(subscription.market().as_str_name(), "MARKET_"),
            Cell::text(&subscription.vendor_instance_id),
            Cell::text(&subscription.vendor_account_id),
            Cell::text(&subscription.billing_account_id),
            Cell::text(&subscription.product_code),
            Cell::text(&subscription.plan),
            Cell::name(subscription.state().as_str_name(), "SUBSCRIPTION_STATE_"),
            Cell::Flag(subscription.trial),
            Cell::time(subscription.expire_time),
            Cell::time(subscription.activate_time),
            Cell::time(subscription.close_time),
        ]);
    }
    table
}
