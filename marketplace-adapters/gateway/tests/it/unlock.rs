//! Unlock links: what a person sees, and what nobody learns.

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::standing_service_server::{StandingService, StandingServiceServer};
use tandem_proto::common::v1::{Language, Money, WorkspaceStanding};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::to_message;
use tonic::{Request, Response, Status};

use crate::harness::{Harness, log_lines, now};

/// The only link that this Billing has made.
const GENUINE: &str = "Z2VudWluZQ.c2VjcmV0LXNpZ25hdHVyZQ";
/// One that it cannot open at the moment.
const UNLUCKY: &str = "dW5sdWNreQ.c2ln";

/// Billing's part in unlock links, played.
pub(crate) struct FakeStanding;

impl FakeStanding {
    pub(crate) fn server() -> StandingServiceServer<FakeStanding> {
        StandingServiceServer::new(FakeStanding)
    }
}

fn not_played<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not played here"))
}

#[tonic::async_trait]
impl StandingService for FakeStanding {
    async fn get_debt(
        &self,
        _: Request<pb::GetDebtRequest>,
    ) -> Result<Response<pb::GetDebtResponse>, Status> {
        not_played()
    }

    async fn dissolve_workspace(
        &self,
        _: Request<pb::DissolveWorkspaceRequest>,
    ) -> Result<Response<pb::DissolveWorkspaceResponse>, Status> {
        not_played()
    }

    async fn unlock_workspace(
        &self,
        _: Request<pb::UnlockWorkspaceRequest>,
    ) -> Result<Response<pb::UnlockWorkspaceResponse>, Status> {
        not_played()
    }

    async fn issue_unlock_link(
        &self,
        _: Request<pb::IssueUnlockLinkRequest>,
    ) -> Result<Response<pb::IssueUnlockLinkResponse>, Status> {
        not_played()
    }

    async fn open_unlock_link(
        &self,
        request: Request<pb::OpenUnlockLinkRequest>,
    ) -> Result<Response<pb::OpenUnlockLinkResponse>, Status> {
        match request.into_inner().token.as_str() {
            GENUINE => Ok(Response::new(pb::OpenUnlockLinkResponse {
                debt: Some(pb::Debt {
                    username: "tea_house".to_owned(),
                    owed: Some(Money { currency_code: "CNY".to_owned(), minor_units: 1_234 }),
                    owed_bill_count: 2,
                    workspaces: vec![pb::HeldWorkspace {
                        name: "shop".to_owned(),
                        standing: WorkspaceStanding::LockCountdown.into(),
                        lock_time: Some(to_message(now())),
                        time_zone: "Asia/Shanghai".to_owned(),
                        remedies: vec![pb::Remedy::Recharge.into()],
                        ..pb::HeldWorkspace::default()
                    }],
                    workspace_count: 1,
                    ..pb::Debt::default()
                }),
                expire_time: Some(to_message(now())),
                language: Language::Zh.into(),
                billing_center_url: "https://billing.example.com/".to_owned(),
                support_address: String::new(),
            })),
            UNLUCKY => Err(Fault::new(Reason::StorageUnavailable).into()),
            _ => Err(Fault::new(Reason::LinkInvalid).into()),
        }
    }
}

#[tokio::test]
async fn a_genuine_link_shows_the_debt_and_the_way_out() {
    let gateway = Harness::start().await;
    let page = gateway.get_with(&format!("/unlock/{GENUINE}"), "", "accept-language: en\r\n").await;
    assert_eq!(page.status, 200, "{page:?}");
    for part in ["12.34 CNY", "tea_house", "shop", "2026-03-01 10:01 (Asia/Shanghai)", "Recharge"] {
        assert!(page.body.contains(part), "{part} is missing in {}", page.body);
    }
    for header in [
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-frame-options: deny",
    ] {
        assert!(page.head.contains(header), "{header} is missing in {}", page.head);
    }
    assert!(!page.body.contains("<script") && !page.body.contains("<form"));
    // The account's language, when the browser names none of ours.
    let page = gateway.get(&format!("/unlock/{GENUINE}"), "").await;
    assert!(page.body.contains("lang=\"zh-CN\"") && page.body.contains("欠费"), "{}", page.body);
    assert!(!log_lines().contains("c2VjcmV0LXNpZ25hdHVyZQ"), "a token was logged");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_link_the_same_page_is_shown() {
    let gateway = Harness::start().await;
    let forged = gateway.get("/unlock/Zm9yZ2Vk.c2ln", "").await;
    assert_eq!(forged.status, 403);
    assert!(!forged.body.contains("tea_house"));
    for token in ["Zm9yZ2Vk", "%3Cscript%3E.a", &format!("{}.a", "a".repeat(600))] {
        let other = gateway.get(&format!("/unlock/{token}"), "").await;
        assert_eq!((other.status, &other.body), (403, &forged.body), "{token}");
    }
    let post = format!(
        "POST /unlock/{GENUINE} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(gateway.send(post.as_bytes()).await.status, 405);
}

#[tokio::test]
async fn while_billing_cannot_say_people_are_asked_to_come_again() {
    let gateway = Harness::start().await;
    let page = gateway.get(&format!("/unlock/{UNLUCKY}"), "").await;
    assert_eq!(page.status, 503);
    assert!(page.head.contains("retry-after"));
    let away = Harness::start_without_billing().await;
    let page = away.get(&format!("/unlock/{GENUINE}"), "").await;
    assert_eq!(page.status, 503);
}
