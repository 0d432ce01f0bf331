//! `tandem.common.v1.OutboxService`: the operator's view of what is on its way out.

use tandem_proto::common::v1::outbox_service_server::{self, OutboxServiceServer};
use tandem_proto::common::v1::{
    ListOutboxMessagesRequest, ListOutboxMessagesResponse, OutboxMessage, OutboxState,
    RedriveOutboxMessageRequest, RedriveOutboxMessageResponse,
};
use tandem_proto::ids::OutboxId;
use tandem_proto::page::Page;
use tonic::{Request, Response, Status};

use super::store::{self, Listed};
use crate::clock::SharedClock;
use crate::db::Database;
use crate::fault::Fault;
use crate::request_log::{self, Open, RequestKey};
use crate::server::{DECODE_MAX, ENCODE_MAX, caller};
use crate::validate;

/// Lists and redrives the messages of one database.
#[derive(Clone)]
pub struct OutboxService {
    db: Database,
    clock: SharedClock,
}

impl OutboxService {
    pub(super) fn new(db: Database, clock: SharedClock) -> OutboxService {
        OutboxService { db, clock }
    }

    /// Makes the gRPC service.
    pub fn server(db: Database, clock: SharedClock) -> OutboxServiceServer<OutboxService> {
        OutboxServiceServer::new(OutboxService::new(db, clock))
            .max_decoding_message_size(DECODE_MAX)
            .max_encoding_message_size(ENCODE_MAX)
    }
}

#[tonic::async_trait]
impl outbox_service_server::OutboxService for OutboxService {
    async fn list_outbox_messages(
        &self,
        request: Request<ListOutboxMessagesRequest>,
    ) -> Result<Response<ListOutboxMessagesResponse>, Status> {
        let request = request.into_inner();
        let state = match OutboxState::try_from(request.state) {
            Ok(OutboxState::Unspecified) => None,
            Ok(state) => Some(state as i32),
            Err(_) => return Err(Fault::field("state", "must be a state of OutboxState").into()),
        };
        let page = Page::from_request(request.page_size, &request.page_token, 1)
            .map_err(|error| Fault::field("page_token", error.to_string()))?;
        let after = page.after.first().map(String::as_str).unwrap_or_default();
        let rows = store::list(&self.db, state, after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |row| vec![row.id.clone()]);
        let messages = rows.into_iter().map(to_message).collect();
        Ok(Response::new(ListOutboxMessagesResponse { messages, next_page_token }))
    }

    async fn redrive_outbox_message(
        &self,
        request: Request<RedriveOutboxMessageRequest>,
    ) -> Result<Response<RedriveOutboxMessageResponse>, Status> {
        const METHOD: &str = "/tandem.common.v1.OutboxService/RedriveOutboxMessage";
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, METHOD, &request.request_id, &request)?;
        let id: OutboxId = validate::parse("message_id", &request.message_id)?;
        let now = self.clock.now();
        let pending = match request_log::open(&self.db, key).await? {
            Open::Answered(response) => return Ok(Response::new(response)),
            Open::Fresh(pending) => pending,
        };
        let row =
            store::redrive(&pending.tx, id.as_str(), now).await?.ok_or(Fault::not_found("message_id"))?;
        pending.tx.wake_on_commit();
        tracing::info!(message.id = %id, caller = caller.name, "redrove a message");
        let response = RedriveOutboxMessageResponse { message: Some(to_message(row)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }
}

fn to_message(row: Listed) -> OutboxMessage {
    OutboxMessage {
        id: row.id,
        topic: row.topic,
        aggregate_id: row.aggregate_id,
        state: row.state,
        attempts: row.attempts,
        create_time: Some(validate::to_message(row.created_at)),
        next_attempt_time: Some(validate::to_message(row.available_at)),
        last_error: row.last_error.unwrap_or_default(),
    }
}
