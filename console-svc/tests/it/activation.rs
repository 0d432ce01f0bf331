//! Activation and upgrade: the three steps and every way they can break.

use std::future::Future as _;

use jiff::SignedDuration;
use tandem_proto::billing::v1 as billing;
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use crate::billing::Mood;
use crate::harness::{ENGINES, Harness, activation_request, eventually, point, reason, request_id, terms};

#[tokio::test]
async fn a_commercial_workspace_is_made_with_its_payer() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let account = h.account("cn1", "wang").await;
        let request = activation_request(&account.id, Activation::Commercial(terms()));
        let answer = h.registration().activate_workspace(request.clone()).await.unwrap().into_inner();
        let workspace = answer.workspace.clone().unwrap();
        assert_eq!((workspace.plan, workspace.standing, workspace.settlement_method), (2, 1, 1));
        assert_eq!(workspace.owner_account_id, account.id);
        assert_eq!(workspace.charge_start_time.unwrap().seconds % 3600, 0);
        assert!(answer.billing_account_id.starts_with("bac_"));
        assert_eq!(h.workspace(&workspace.id).await, workspace);
        let again = h.registration().activate_workspace(request).await.unwrap().into_inner();
        assert_eq!(again, answer);
        {
            let state = h.billing.state.lock().unwrap();
            let [bound] = state.bound.as_slice() else { panic!("bound {} times", state.bound.len()) };
            let profile = bound.workspace.clone().unwrap();
            assert_eq!((profile.site.as_str(), profile.time_zone.as_str()), ("cn1", "Asia/Shanghai"));
            assert_eq!(profile.owner_email, account.email);
            let Some(billing::bind_workspace_request::Payer::NewAccount(new)) = &bound.payer else {
                panic!("no new account")
            };
            assert_eq!(new.username, "wang");
            let Some(billing::new_account::FirstPassword::PasswordHash(hash)) = &new.first_password else {
                panic!("no hash")
            };
            assert!(hash.starts_with("$argon2id$"));
        }
        let found = console::GetAccountRequest { console_account_id: account.id };
        assert_eq!(h.accounts().get_account(found).await.unwrap().into_inner().account.unwrap().stage, 2);
        assert_eq!(h.count("pending_activation").await, 0);
        h.stop().await;
    }
}

#[tokio::test]
async fn free_needs_billing_only_for_an_account_beside_it() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        h.billing.set_mood(Mood::Away);
        let workspace = h.free("cn1", "wang").await;
        assert_eq!((workspace.plan, workspace.settlement_method), (1, 0));
        assert!(workspace.charge_start_time.is_none());
        assert!(workspace.retention.iter().all(|retention| retention.days == 7));
        h.billing.set_mood(Mood::Fine);
        let owner = workspace.owner_account_id;
        let free = Activation::Free(console::FreeActivation { create_billing_account: true });
        let answer = h.activate(&owner, free).await.unwrap();
        assert!(answer.billing_account_id.starts_with("bac_"));
        assert_eq!(h.billing.state.lock().unwrap().accounts.len(), 1);
        let list = console::ListWorkspacesRequest {
            console_account_id: owner,
            page_size: 1,
            page_token: String::new(),
        };
        let page = h.workspaces().list_workspaces(list.clone()).await.unwrap().into_inner();
        assert_eq!(page.workspaces[0].id, workspace.id);
        let list = console::ListWorkspacesRequest { page_token: page.next_page_token, ..list };
        let page = h.workspaces().list_workspaces(list).await.unwrap().into_inner();
        assert_eq!((page.workspaces.len(), page.next_page_token.as_str()), (1, ""));
        h.stop().await;
    }
}

#[tokio::test]
async fn a_refusal_passes_through_unchanged_and_leaves_the_account_alone() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let account = h.account("cn1", "wang").await;
        let refusals =
            [Reason::PurchaseNotFound, Reason::UsernameTaken, Reason::CodeInvalid, Reason::VendorUnavailable];
        let request = activation_request(&account.id, Activation::Commercial(terms()));
        for refusal in refusals {
            h.billing.set_mood(Mood::Refuses(refusal));
            let status = h.registration().activate_workspace(request.clone()).await.unwrap_err();
            let fault = Fault::from_status(&status).unwrap();
            assert_eq!(fault.reason, refusal);
            assert_eq!(fault.metadata, [("hint".to_owned(), "from billing".to_owned())]);
            for table in ["workspace", "member", "pending_activation"] {
                assert_eq!(h.count(table).await, 0, "{table}");
            }
        }
        h.billing.set_mood(Mood::Fine);
        h.registration().activate_workspace(request).await.unwrap();
        h.stop().await;
    }
}

#[tokio::test]
async fn fields_are_checked_before_anything_is_recorded() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let account = h.account("cn1", "wang").await;
        let good = activation_request(&account.id, Activation::Commercial(terms()));
        let with = |terms| console::ActivateWorkspaceRequest {
            activation: Some(Activation::Commercial(terms)),
            ..good.clone()
        };
        let cases = [
            (
                console::ActivateWorkspaceRequest { agreements_accepted: false, ..good.clone() },
                Reason::AgreementMissing,
            ),
            (
                console::ActivateWorkspaceRequest { workspace_name: String::new(), ..good.clone() },
                Reason::InvalidField,
            ),
            (
                console::ActivateWorkspaceRequest { workspace_name: "x".repeat(65), ..good.clone() },
                Reason::InvalidField,
            ),
            (console::ActivateWorkspaceRequest { language: 0, ..good.clone() }, Reason::InvalidField),
            (console::ActivateWorkspaceRequest { activation: None, ..good.clone() }, Reason::InvalidField),
            (with(console::CommercialActivation { payer: None, ..terms() }), Reason::InvalidField),
            (with(console::CommercialActivation { settlement_method: 0, ..terms() }), Reason::InvalidField),
            (with(console::CommercialActivation { settlement_method: 2, ..terms() }), Reason::InvalidField),
            (
                console::ActivateWorkspaceRequest {
                    console_account_id: format!("cac_{}", "0".repeat(32)),
                    ..good.clone()
                },
                Reason::ObjectNotFound,
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(
                reason(h.registration().activate_workspace(request.clone()).await),
                expected,
                "{request:?}"
            );
        }
        assert_eq!(h.count("pending_activation").await, 0);
        h.stop().await;
    }
}

#[tokio::test]
async fn an_open_outcome_is_settled_by_a_repetition_and_bound_once() {
    for engine in ENGINES {
        for mood in [Mood::Away, Mood::LosesAnswers] {
            let h = Harness::start(engine).await;
            let account = h.account("cn1", "wang").await;
            let request = activation_request(&account.id, Activation::Commercial(terms()));
            h.billing.set_mood(mood);
            assert_eq!(
                reason(h.registration().activate_workspace(request.clone()).await),
                Reason::PeerUnavailable
            );
            assert_eq!(h.count("workspace").await, 0);
            let other =
                console::ActivateWorkspaceRequest { workspace_name: "Other".into(), ..request.clone() };
            assert_eq!(reason(h.registration().activate_workspace(other).await), Reason::RequestIdReused);
            h.billing.set_mood(Mood::Fine);
            let answer = h.registration().activate_workspace(request.clone()).await.unwrap().into_inner();
            let again = h.registration().activate_workspace(request).await.unwrap().into_inner();
            assert_eq!(answer, again);
            assert_eq!(h.billing.state.lock().unwrap().bound.len(), 1);
            assert_eq!((h.count("workspace").await, h.count("pending_activation").await), (1, 0));
            h.stop().await;
        }
    }
}

#[tokio::test]
async fn an_open_outcome_is_settled_by_the_worker_also_after_a_restart() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let account = h.account("cn1", "wang").await;
        let request = activation_request(&account.id, Activation::Commercial(terms()));
        h.billing.set_mood(Mood::LosesAnswers);
        assert_eq!(
            reason(h.registration().activate_workspace(request.clone()).await),
            Reason::PeerUnavailable
        );
        let h = h.restart().await;
        assert_eq!(h.count("workspace").await, 0);
        h.billing.set_mood(Mood::Fine);
        h.clock.advance_by(SignedDuration::from_secs(3600));
        eventually(async || h.count("workspace").await == 1).await;
        let answer = h.registration().activate_workspace(request).await.unwrap().into_inner();
        assert_eq!(answer.workspace.unwrap().owner_account_id, account.id);
        assert_eq!(h.billing.state.lock().unwrap().bound.len(), 1);
        h.stop().await;
    }
}

/// Drops the operation's future at its n-th suspension, for every n, and repeats the request each time: whatever point
/// it broke at, there is one workspace, bound once, in the end.
#[tokio::test]
async fn a_crash_at_any_step_leaves_nothing_half_made() {
    use tandem_console::ops::activation::{self, ACTIVATE, Wish};
    use tandem_service_kit::identity::Caller;
    use tandem_service_kit::request_log::RequestKey;

    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let account = h.account("cn1", "wang").await;
        let caller = Caller { name: "portal".into(), role: tandem_proto::common::v1::Role::Portal };
        for polls in (0..60).step_by(3) {
            let request = activation_request(&account.id, Activation::Commercial(terms()));
            let run = || {
                let key = RequestKey::new(&caller, ACTIVATE, &request.request_id, &request).unwrap();
                let wish = Wish::Commercial {
                    owner: account.id.parse().unwrap(),
                    name: "Production".into(),
                    language: tandem_console::domain::workspace::Language::Zh,
                    terms: terms(),
                    request: request.clone(),
                };
                activation::run::<console::ActivateWorkspaceResponse>(&h.context, key, wish)
            };
            let bound_before = h.billing.state.lock().unwrap().bound.len();
            let workspaces_before = h.count("workspace").await;
            let mut left = polls;
            let mut future = Box::pin(run());
            // Ends after so many polls, wherever the operation is then.
            std::future::poll_fn(|context| {
                if left == 0 || future.as_mut().poll(context).is_ready() {
                    return std::task::Poll::Ready(());
                }
                left -= 1;
                std::task::Poll::Pending
            })
            .await;
            drop(future);
            // The dropped try's last statement may still run in the database; then the repetition is told to come again.
            while let Err(fault) = run().await {
                assert_eq!(fault.reason, Reason::Conflict, "after {polls} polls");
            }
            assert_eq!(h.billing.state.lock().unwrap().bound.len(), bound_before + 1, "after {polls} polls");
            assert_eq!(h.count("workspace").await, workspaces_before + 1, "after {polls} polls");
            assert_eq!(h.count("pending_activation").await, 0);
        }
        h.stop().await;
    }
}

#[tokio::test]
async fn an_upgrade_is_the_owners_and_for_ever() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let free = h.free("cn1", "wang").await;
        h.record(vec![
            point(&free.id, "2026-03-01T09:00:00Z", 2, 500),
            point(&free.id, "2026-03-01T10:00:00Z", 2, 70),
        ])
        .await;
        let other = h.account("cn1", "zhao").await;
        let request = console::UpgradeWorkspaceRequest {
            request_id: request_id(),
            workspace_id: free.id.clone(),
            acting_account_id: other.id.clone(),
            commercial: Some(terms()),
        };
        assert_eq!(reason(h.workspaces().upgrade_workspace(request.clone()).await), Reason::ObjectNotFound);
        let add = console::AddMemberRequest {
            request_id: request_id(),
            workspace_id: free.id.clone(),
            acting_account_id: free.owner_account_id.clone(),
            console_account_id: other.id,
            role: 2,
        };
        h.workspaces().add_member(add).await.unwrap();
        let request = console::UpgradeWorkspaceRequest { request_id: request_id(), ..request };
        assert_eq!(reason(h.workspaces().upgrade_workspace(request.clone()).await), Reason::NotOwner);
        let owner = free.owner_account_id.clone();
        let request = console::UpgradeWorkspaceRequest {
            request_id: request_id(),
            acting_account_id: owner,
            ..request
        };
        h.billing.set_mood(Mood::Refuses(Reason::RegionMismatch));
        assert_eq!(reason(h.workspaces().upgrade_workspace(request.clone()).await), Reason::RegionMismatch);
        assert_eq!(h.workspace(&free.id).await.plan, 1);
        h.billing.set_mood(Mood::Fine);
        let answer = h.workspaces().upgrade_workspace(request.clone()).await.unwrap().into_inner();
        let upgraded = answer.workspace.unwrap();
        assert_eq!(upgraded.plan, 2);
        // Upgraded at ten sharp: the hour after is charged.
        assert_eq!(upgraded.charge_start_time.unwrap().seconds, h.now().as_second() + 3600);
        let request = console::UpgradeWorkspaceRequest { request_id: request_id(), ..request };
        assert_eq!(reason(h.workspaces().upgrade_workspace(request).await), Reason::AlreadyCommercial);
        // Usage of the Free period is never billed, nor what comes late for it.
        h.advance_to("2026-03-01T12:00:00Z");
        h.record(vec![
            point(&free.id, "2026-03-01T08:00:00Z", 2, 1_000),
            point(&free.id, "2026-03-01T11:00:00Z", 2, 3),
            point(&free.id, "2026-03-01T12:00:00Z", 2, 4),
        ])
        .await;
        h.billing_has(|state| state.usage.values().any(|(_, hundredths)| *hundredths == 700)).await;
        assert_eq!(h.billing.state.lock().unwrap().usage.len(), 1);
        h.stop().await;
    }
}
