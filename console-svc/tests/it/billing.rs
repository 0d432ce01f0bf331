//! A stand-in for Billing that can be away, refuse, and lose its answers.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use prost::Message;
use tandem_proto::billing::v1 as billing;
use tandem_proto::billing::v1::account_service_server::{AccountService, AccountServiceServer};
use tandem_proto::billing::v1::binding_service_server::{BindingService, BindingServiceServer};
use tandem_proto::billing::v1::event_service_server::{EventService, EventServiceServer};
use tandem_proto::billing::v1::usage_service_server::{UsageService, UsageServiceServer};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Fine,
    /// Answers nothing.
    Away,
    /// Does what it is asked, but the answer is lost.
    LosesAnswers,
    /// Refuses what it is asked.
    Refuses(Reason),
    /// Away every second time.
    Flaps,
}

/// A quantity's key: workspace, day, item, retention, sub key.
pub(crate) type UsageKey = (String, String, i32, i32, String);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) mood: Mood,
    calls: u64,
    answers: HashMap<String, (Vec<u8>, Vec<u8>)>,
    pub(crate) bound: Vec<billing::BindWorkspaceRequest>,
    pub(crate) accounts: Vec<billing::NewAccount>,
    pub(crate) profiles: Vec<billing::WorkspaceProfile>,
    /// The greatest revision of each key and its quantity.
    pub(crate) usage: BTreeMap<UsageKey, (i64, i64)>,
    /// The days of the deliveries, in order of arrival.
    pub(crate) delivered_days: Vec<String>,
    pub(crate) refuse_usage: Option<Reason>,
    pub(crate) closed: Vec<(String, String)>,
    events: Vec<billing::Event>,
}

#[derive(Clone)]
pub(crate) struct FakeBilling {
    pub(crate) state: Arc<Mutex<State>>,
    feed: watch::Sender<usize>,
}

impl FakeBilling {
    /// Starts it and returns its address.
    pub(crate) async fn start() -> (FakeBilling, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let fake = FakeBilling { state: Arc::default(), feed: watch::Sender::new(0) };
        let server = tonic::transport::Server::builder()
            .add_service(BindingServiceServer::new(fake.clone()))
            .add_service(AccountServiceServer::new(fake.clone()))
            .add_service(UsageServiceServer::new(fake.clone()))
            .add_service(EventServiceServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (fake, address)
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Adds an event to the feed.
    pub(crate) fn say(&self, workspace_id: &str, changed: billing::WorkspaceChanged) {
        let mut state = self.state.lock().unwrap();
        let position = i64::try_from(state.events.len()).unwrap() + 1;
        state.events.push(billing::Event {
            position,
            id: format!("evt_{position:032x}"),
            workspace_id: workspace_id.to_owned(),
            what: Some(billing::event::What::WorkspaceChanged(changed)),
            ..billing::Event::default()
        });
        drop(state);
        self.feed.send_modify(|count| *count += 1);
    }

    /// Answers once per request id; the same id with another body is refused.
    fn once<Q: Message, R: Message + Default>(
        &self,
        request_id: &str,
        request: &Q,
        work: impl FnOnce(&mut State) -> Result<R, Status>,
    ) -> Result<Response<R>, Status> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        let away = match state.mood {
            Mood::Away => true,
            Mood::Flaps => state.calls.is_multiple_of(2),
            Mood::Fine | Mood::LosesAnswers | Mood::Refuses(_) => false,
        };
        if away {
            return Err(Status::unavailable("away"));
        }
        let loses = state.mood == Mood::LosesAnswers;
        if let Some((body, answer)) = state.answers.get(request_id).filter(|_| !loses) {
            if *body != request.encode_to_vec() {
                return Err(Fault::new(Reason::RequestIdReused).into());
            }
            return Ok(Response::new(R::decode(answer.as_slice()).unwrap()));
        }
        if let Mood::Refuses(reason) = state.mood {
            return Err(Fault::new(reason).with("hint", "from billing").into());
        }
        if state.answers.contains_key(request_id) {
            return Err(Status::unavailable("lost again"));
        }
        let answer = work(&mut state)?;
        state.answers.insert(request_id.to_owned(), (request.encode_to_vec(), answer.encode_to_vec()));
        if loses {
            return Err(Status::unavailable("lost"));
        }
        Ok(Response::new(answer))
    }
}

fn nothing<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of the stand-in"))
}

fn account_id(number: usize) -> String {
    format!("bac_{number:032x}")
}

#[tonic::async_trait]
impl BindingService for FakeBilling {
    async fn bind_workspace(
        &self,
        request: Request<billing::BindWorkspaceRequest>,
    ) -> Result<Response<billing::BindWorkspaceResponse>, Status> {
        let request = request.into_inner();
        self.once(&request.request_id, &request, |state| {
            state.bound.push(request.clone());
            let profile = request.workspace.clone().unwrap();
            let id = account_id(state.bound.len());
            let binding = billing::WorkspaceBinding {
                workspace_id: profile.workspace_id,
                billing_account_id: id.clone(),
                settlement_method: request.settlement_method,
                standing: 1,
                ..billing::WorkspaceBinding::default()
            };
            let account = billing::BillingAccount { id, ..billing::BillingAccount::default() };
            Ok(billing::BindWorkspaceResponse { binding: Some(binding), account: Some(account) })
        })
    }

    async fn update_workspace_profile(
        &self,
        request: Request<billing::UpdateWorkspaceProfileRequest>,
    ) -> Result<Response<billing::UpdateWorkspaceProfileResponse>, Status> {
        let request = request.into_inner();
        self.once(&request.request_id, &request, |state| {
            state.profiles.push(request.workspace.clone().unwrap());
            Ok(billing::UpdateWorkspaceProfileResponse {})
        })
    }

    async fn get_binding(
        &self,
        _: Request<billing::GetBindingRequest>,
    ) -> Result<Response<billing::GetBindingResponse>, Status> {
        nothing()
    }

    async fn list_bindings(
        &self,
        _: Request<billing::ListBindingsRequest>,
    ) -> Result<Response<billing::ListBindingsResponse>, Status> {
        nothing()
    }

    async fn list_binding_history(
        &self,
        _: Request<billing::ListBindingHistoryRequest>,
    ) -> Result<Response<billing::ListBindingHistoryResponse>, Status> {
        nothing()
    }

    async fn change_settlement_method(
        &self,
        _: Request<billing::ChangeSettlementMethodRequest>,
    ) -> Result<Response<billing::ChangeSettlementMethodResponse>, Status> {
        nothing()
    }

    async fn request_settlement_change(
        &self,
        _: Request<billing::RequestSettlementChangeRequest>,
    ) -> Result<Response<billing::RequestSettlementChangeResponse>, Status> {
        nothing()
    }

    async fn complete_settlement_change(
        &self,
        _: Request<billing::CompleteSettlementChangeRequest>,
    ) -> Result<Response<billing::CompleteSettlementChangeResponse>, Status> {
        nothing()
    }

    async fn cancel_settlement_change(
        &self,
        _: Request<billing::CancelSettlementChangeRequest>,
    ) -> Result<Response<billing::CancelSettlementChangeResponse>, Status> {
        nothing()
    }

    async fn send_move_codes(
        &self,
        _: Request<billing::SendMoveCodesRequest>,
    ) -> Result<Response<billing::SendMoveCodesResponse>, Status> {
        nothing()
    }

    async fn move_workspace(
        &self,
        _: Request<billing::MoveWorkspaceRequest>,
    ) -> Result<Response<billing::MoveWorkspaceResponse>, Status> {
        nothing()
    }
}

#[tonic::async_trait]
impl AccountService for FakeBilling {
    async fn create_account(
        &self,
        request: Request<billing::CreateAccountRequest>,
    ) -> Result<Response<billing::CreateAccountResponse>, Status> {
        let request = request.into_inner();
        self.once(&request.request_id, &request, |state| {
            state.accounts.push(request.account.clone().unwrap());
            let id = account_id(state.accounts.len());
            let account = billing::BillingAccount { id, ..billing::BillingAccount::default() };
            Ok(billing::CreateAccountResponse { account: Some(account) })
        })
    }

    async fn get_account(
        &self,
        _: Request<billing::GetAccountRequest>,
    ) -> Result<Response<billing::GetAccountResponse>, Status> {
        nothing()
    }

    async fn look_up_account(
        &self,
        _: Request<billing::LookUpAccountRequest>,
    ) -> Result<Response<billing::LookUpAccountResponse>, Status> {
        nothing()
    }

    async fn sign_in(
        &self,
        _: Request<billing::SignInRequest>,
    ) -> Result<Response<billing::SignInResponse>, Status> {
        nothing()
    }

    async fn send_verification_code(
        &self,
        _: Request<billing::SendVerificationCodeRequest>,
    ) -> Result<Response<billing::SendVerificationCodeResponse>, Status> {
        nothing()
    }

    async fn set_any_settlement(
        &self,
        _: Request<billing::SetAnySettlementRequest>,
    ) -> Result<Response<billing::SetAnySettlementResponse>, Status> {
        nothing()
    }

    async fn set_currency(
        &self,
        _: Request<billing::SetCurrencyRequest>,
    ) -> Result<Response<billing::SetCurrencyResponse>, Status> {
        nothing()
    }

    async fn send_contact_code(
        &self,
        _: Request<billing::SendContactCodeRequest>,
    ) -> Result<Response<billing::SendContactCodeResponse>, Status> {
        nothing()
    }

    async fn change_email(
        &self,
        _: Request<billing::ChangeEmailRequest>,
    ) -> Result<Response<billing::ChangeEmailResponse>, Status> {
        nothing()
    }

    async fn change_phone(
        &self,
        _: Request<billing::ChangePhoneRequest>,
    ) -> Result<Response<billing::ChangePhoneResponse>, Status> {
        nothing()
    }

    async fn change_password(
        &self,
        _: Request<billing::ChangePasswordRequest>,
    ) -> Result<Response<billing::ChangePasswordResponse>, Status> {
        nothing()
    }
}

#[tonic::async_trait]
impl UsageService for FakeBilling {
    async fn deliver_usage(
        &self,
        request: Request<billing::DeliverUsageRequest>,
    ) -> Result<Response<billing::DeliverUsageResponse>, Status> {
        let request = request.into_inner();
        self.once(&request.request_id, &request, |state| {
            let mut answer = billing::DeliverUsageResponse::default();
            for (index, usage) in (0..).zip(request.usage.clone()) {
                assert!(usage.revision >= 1, "revision 0 must never leave the Console");
                if let Some(reason) = state.refuse_usage {
                    answer.refused.push(billing::RefusedUsage { index, reason: reason.name().to_owned() });
                    continue;
                }
                answer.taken_count += 1;
                state.delivered_days.push(usage.usage_day.clone());
                let key =
                    (usage.workspace_id, usage.usage_day, usage.item, usage.retention_days, usage.sub_key);
                let kept = state.usage.entry(key).or_default();
                *kept = (*kept).max((usage.revision, usage.quantity_hundredths));
            }
            Ok(answer)
        })
    }

    async fn close_usage_day(
        &self,
        request: Request<billing::CloseUsageDayRequest>,
    ) -> Result<Response<billing::CloseUsageDayResponse>, Status> {
        let request = request.into_inner();
        self.once(&request.request_id, &request, |state| {
            state.closed.push((request.site.clone(), request.usage_day.clone()));
            Ok(billing::CloseUsageDayResponse { close_time: None })
        })
    }

    async fn list_usage_days(
        &self,
        _: Request<billing::ListUsageDaysRequest>,
    ) -> Result<Response<billing::ListUsageDaysResponse>, Status> {
        nothing()
    }
}

type EventStream = Pin<Box<dyn Stream<Item = Result<billing::StreamEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EventService for FakeBilling {
    type StreamEventsStream = EventStream;

    async fn stream_events(
        &self,
        request: Request<billing::StreamEventsRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let mut after = request.into_inner().after_position;
        let state = Arc::clone(&self.state);
        let news = WatchStream::new(self.feed.subscribe()).map(move |_| {
            let state = state.lock().unwrap();
            let events: Vec<_> =
                state.events.iter().filter(|event| event.position > after).cloned().collect();
            after = events.last().map_or(after, |event| event.position);
            Ok(billing::StreamEventsResponse { events })
        });
        Ok(Response::new(Box::pin(news)))
    }

    async fn list_events(
        &self,
        _: Request<billing::ListEventsRequest>,
    ) -> Result<Response<billing::ListEventsResponse>, Status> {
        nothing()
    }
}
