//! Members and roles.

use tandem_proto::console::v1 as console;
use tandem_proto::reason::Reason;

use crate::harness::{ENGINES, Harness, reason, request_id};

const OWNER: i32 = 1;
const ADMINISTRATOR: i32 = 2;
const STANDARD: i32 = 3;

async fn add(
    h: &Harness,
    w: &str,
    acting: &str,
    account: &str,
    role: i32,
) -> Result<console::Member, tonic::Status> {
    let request = console::AddMemberRequest {
        request_id: request_id(),
        workspace_id: w.into(),
        acting_account_id: acting.into(),
        console_account_id: account.into(),
        role,
    };
    h.workspaces().add_member(request).await.map(|answer| answer.into_inner().member.unwrap())
}

async fn set(
    h: &Harness,
    w: &str,
    acting: &str,
    account: &str,
    role: i32,
) -> Result<console::Member, tonic::Status> {
    let request = console::SetMemberRoleRequest {
        request_id: request_id(),
        workspace_id: w.into(),
        acting_account_id: acting.into(),
        console_account_id: account.into(),
        role,
    };
    h.workspaces().set_member_role(request).await.map(|answer| answer.into_inner().member.unwrap())
}

async fn remove(h: &Harness, w: &str, acting: &str, account: &str) -> Result<(), tonic::Status> {
    let request = console::RemoveMemberRequest {
        request_id: request_id(),
        workspace_id: w.into(),
        acting_account_id: acting.into(),
        console_account_id: account.into(),
    };
    h.workspaces().remove_member(request).await.map(drop)
}

#[tokio::test]
async fn members_come_change_and_go_as_their_roles_allow() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let workspace = h.commercial("cn1", "wang").await;
        let (w, owner) = (workspace.id.as_str(), workspace.owner_account_id.as_str());
        let (zhao, qian) = (h.account("cn1", "zhao").await, h.account("cn1", "qian").await);
        let stranger = h.account("us1", "smith").await;
        assert_eq!(reason(add(&h, w, owner, &stranger.id, STANDARD).await), Reason::ObjectNotFound);
        assert_eq!(reason(add(&h, w, &zhao.id, &qian.id, STANDARD).await), Reason::ObjectNotFound);
        assert_eq!(reason(add(&h, w, owner, &zhao.id, OWNER).await), Reason::InvalidField);
        add(&h, w, owner, &zhao.id, STANDARD).await.unwrap();
        assert_eq!(reason(add(&h, w, owner, &zhao.id, STANDARD).await), Reason::AlreadyMember);
        assert_eq!(reason(add(&h, w, &zhao.id, &qian.id, STANDARD).await), Reason::NotAdministrator);
        set(&h, w, owner, &zhao.id, ADMINISTRATOR).await.unwrap();
        add(&h, w, &zhao.id, &qian.id, STANDARD).await.unwrap();
        assert_eq!(reason(set(&h, w, &zhao.id, &zhao.id, OWNER).await), Reason::NotOwner);
        assert_eq!(reason(set(&h, w, owner, owner, STANDARD).await), Reason::OwnerRequired);
        assert_eq!(reason(remove(&h, w, &zhao.id, owner).await), Reason::OwnerRequired);

        let new = set(&h, w, owner, &zhao.id, OWNER).await.unwrap();
        assert_eq!(new.role, OWNER);
        assert_eq!(h.workspace(w).await.owner_account_id, zhao.id);
        // Billing learns the new owner's address.
        h.billing_has(|state| {
            state.profiles.last().is_some_and(|p| p.owner_email == zhao.email && p.revision == 2)
        })
        .await;
        let list = console::ListMembersRequest {
            workspace_id: w.into(),
            acting_account_id: qian.id.clone(),
            page_size: 2,
            page_token: String::new(),
        };
        let first = h.workspaces().list_members(list.clone()).await.unwrap().into_inner();
        let next = console::ListMembersRequest { page_token: first.next_page_token, ..list.clone() };
        let second = h.workspaces().list_members(next).await.unwrap().into_inner();
        let roles: Vec<_> =
            first.members.into_iter().chain(second.members).map(|m| (m.console_account_id, m.role)).collect();
        assert_eq!(roles.len(), 3);
        assert!(
            roles.contains(&(owner.to_owned(), ADMINISTRATOR)) && roles.contains(&(zhao.id.clone(), OWNER))
        );

        remove(&h, w, &qian.id, &qian.id).await.unwrap();
        assert_eq!(reason(remove(&h, w, &zhao.id, &qian.id).await), Reason::ObjectNotFound);
        assert_eq!(reason(h.workspaces().list_members(list).await), Reason::ObjectNotFound);
        let get = console::GetWorkspaceRequest { workspace_id: w.into(), acting_account_id: qian.id };
        assert_eq!(reason(h.workspaces().get_workspace(get).await), Reason::ObjectNotFound);
        h.stop().await;
    }
}
