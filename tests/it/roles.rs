//! Who may call what, and what arbitrary input does (I-31, I-34).

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tandem_proto::access::METHODS;
use tandem_proto::common::v1::Role;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_service_kit::peer::Peer;
use tandem_tests::configs::ROLES;
use tandem_tests::engine::Engine;
use tandem_tests::messages::Messages;
use tandem_tests::raw::{call_as, served_by};
use tandem_tests::system::Setup;
use tonic::Code;

use crate::on_both_engines;

/// Arbitrary requests for each method.
const TRIES: u32 = 25;
/// How long an answer may take; streams of events stay open, which is an answer as well.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(12);
const STREAM_LIMIT: std::time::Duration = std::time::Duration::from_millis(200);

on_both_engines! {
    arbitrary_requests_are_never_our_fault;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_listed_roles_may_call() -> anyhow::Result<()> {
    let system = Setup::new(Engine::Sqlite).run().await?;
    let mut refused = 0;
    for method in METHODS {
        for service in served_by(method.path) {
            let status = system.call_without_token(service, method.path, Bytes::new()).await?;
            ensure!(status.code() == Code::Unauthenticated, "{} without a token: {status:?}", method.path);
            ensure!(reason_of(&status) == Some(Reason::TokenInvalid), "{}: {status:?}", method.path);
            for role in ROLES.into_iter().filter(|role| !method.roles.contains(role)) {
                let answer = call_as(system.as_role(role)?.of(service), method.path, Bytes::new()).await;
                let status = answer.err().with_context(|| format!("{} answers {role:?}", method.path))?;
                ensure!(status.code() == Code::PermissionDenied, "{} as {role:?}: {status:?}", method.path);
                ensure!(reason_of(&status) == Some(Reason::RoleNotAllowed), "{}: {status:?}", method.path);
                refused += 1;
            }
            // A token that is meant for another service.
            let uri = format!("http://{}", service.address(&system.addresses));
            let signer = system.keys.signer(Role::Operator)?;
            let peer = Peer::connect_lazy(&uri, signer, "elsewhere", LIMIT)?;
            let answer = call_as(peer.channel(), method.path, Bytes::new()).await;
            let status = answer.err().with_context(|| format!("{} takes any audience", method.path))?;
            ensure!(status.code() == Code::Unauthenticated, "{}: {status:?}", method.path);
        }
    }
    ensure!(refused > 100, "only {refused} refusals: this proves nothing");
    Ok(())
}

async fn arbitrary_requests_are_never_our_fault(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "arbitrary").await?;
    let purchase = system.buy("1744000000000001").await?;
    let subscription = system.subscription(&purchase.instance_id).await?;
    let ids = vec![customer.id, paid.workspace, paid.account, subscription.id];
    let seed = 7;
    let mut messages = Messages::new(seed, ids)?;
    let mut faults = BTreeMap::new();
    for method in METHODS {
        // Moving the clock to any time is what it is for; a test cannot go on after that.
        if method.path.ends_with("/AdvanceClock") {
            continue;
        }
        let role = *method.roles.first().context("no role")?;
        let limit = if method.path.ends_with("/StreamEvents") { STREAM_LIMIT } else { LIMIT };
        for service in served_by(method.path) {
            for number in 0..TRIES {
                let request = if number == 0 { Vec::new() } else { messages.request(method.path)? };
                let call =
                    call_as(system.as_role(role)?.of(service), method.path, Bytes::from(request.clone()));
                let Ok(answer) = tokio::time::timeout(limit, call).await else {
                    ensure!(limit == STREAM_LIMIT, "{} does not answer {request:?}", method.path);
                    continue;
                };
                let Err(status) = answer else { continue };
                let ours = matches!(
                    status.code(),
                    Code::Internal
                        | Code::Unknown
                        | Code::DataLoss
                        | Code::Unimplemented
                        | Code::DeadlineExceeded
                );
                if ours {
                    faults.entry(method.path).or_insert_with(|| format!("{status:?} to {request:?}"));
                    continue;
                }
                ensure!(reason_of(&status).is_some(), "{}: no reason in {status:?}", method.path);
                let quiet = !["SELECT", "sqlx", "postgres", "/tmp"]
                    .iter()
                    .any(|word| status.message().contains(word));
                ensure!(quiet, "I-33: {}: {status:?}", method.path);
            }
        }
    }
    ensure!(faults.is_empty(), "I-34: seed {seed}, our faults: {faults:#?}");
    system.check_invariants().await
}
