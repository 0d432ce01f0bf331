//! `billing.v1.EventService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::event_service_server::EventService;
use tandem_proto::common::v1 as common;
use tandem_proto::settlement::{SettlementMethod, WorkspaceStanding};
use tandem_service_kit::validate::to_message;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::domain::event::FeedEvent;
use crate::store::feed::{self, StoredEvent};

/// Events in one message of a stream.
const CHUNK: u64 = 500;
/// Longest wait before a follower is served without a notice: other replicas number events as well.
const POLL: std::time::Duration = std::time::Duration::from_secs(1);

/// Serves the feed.
pub struct Service {
    /// What operations need.
    pub ctx: Arc<Context>,
    /// The last position this process has numbered.
    pub head: watch::Receiver<i64>,
}

#[tonic::async_trait]
impl EventService for Service {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<pb::StreamEventsResponse, Status>> + Send>>;

    async fn stream_events(
        &self,
        request: Request<pb::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let mut position = request.into_inner().after_position;
        let (ctx, mut head) = (Arc::clone(&self.ctx), self.head.clone());
        // One chunk waits for a slow follower; the rest stays in the database.
        let (send, receive) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let answer = match feed::after(&ctx.db.read, position, CHUNK).await {
                    Ok(events) if events.is_empty() => {
                        tokio::select! {
                            () = send.closed() => return,
                            changed = head.changed() => if changed.is_err() { return },
                            () = tokio::time::sleep(POLL) => {}
                        }
                        continue;
                    }
                    Ok(events) => {
                        position = events.last().map_or(position, |e| e.position);
                        Ok(pb::StreamEventsResponse { events: events.into_iter().map(message).collect() })
                    }
                    Err(error) => Err(error.into()),
                };
                let failed = answer.is_err();
                if send.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let request = request.into_inner();
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let after = match page.after.first() {
            Some(position) => position.parse().unwrap_or(i64::MAX),
            None => request.after_position,
        };
        let rows = feed::after(&self.ctx.db.read, after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |e| vec![e.position.to_string()]);
        let events = rows.into_iter().map(message).collect();
        Ok(Response::new(pb::ListEventsResponse { events, next_page_token }))
    }
}

fn message(e: StoredEvent) -> pb::Event {
    pb::Event {
        position: e.position,
        id: e.id,
        event_time: Some(to_message(e.happened_at)),
        billing_account_id: e.billing_account,
        workspace_id: e.workspace,
        traceparent: e.traceparent.unwrap_or_default(),
        what: Some(what(e.event)),
    }
}

fn what(event: FeedEvent) -> pb::event::What {
    match event {
        FeedEvent::WorkspaceChanged { revision, settlement_method, standing, lock_at } => {
            let method = settlement_method.parse::<SettlementMethod>();
            let standing = standing.parse::<WorkspaceStanding>();
            pb::event::What::WorkspaceChanged(pb::WorkspaceChanged {
                revision,
                settlement_method: method.map_or(0, |m| m.to_message().into()),
                standing: standing.map_or(0, |s| s.to_message().into()),
                lock_time: lock_at.and_then(|at| jiff::Timestamp::from_microsecond(at).ok()).map(to_message),
            })
        }
        FeedEvent::BillIssued { bill_id, usage_day, currency, payable, arrears } => {
            let money = |minor_units| Some(common::Money { currency_code: currency.clone(), minor_units });
            let day = tandem_proto::day::UsageDay::from_number(usage_day).map(|day| day.to_string());
            pb::event::What::BillIssued(pb::BillIssued {
                bill_id,
                usage_day: day.unwrap_or_default(),
                payable: money(payable),
                arrears: money(arrears),
            })
        }
        FeedEvent::BillPaid { bill_id } => pb::event::What::BillPaid(pb::BillPaid { bill_id }),
        FeedEvent::SubscriptionChanged { subscription_id, state } => {
            pb::event::What::SubscriptionChanged(pb::SubscriptionChanged { subscription_id, state })
        }
    }
}
