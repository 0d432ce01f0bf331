//! One trace shows a callback, the fall-back it caused and the mail about it, across processes and outbox rows.

use std::collections::BTreeMap;

use tandem_tests::collector::{Collector, SeenSpan};
use tandem_tests::engine::Engine;
use tandem_tests::system::Setup;

use crate::kills::NODE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_shows_callback_fall_back_and_mail() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::start().await?;
    let system = Setup::new(Engine::Sqlite).processes(NODE).traces_to(endpoint).run().await?;
    let purchase = system.buy("1744000000000001").await?;
    let (_, paid) = system.cloud_customer("cn1", "traced", &purchase).await?;
    system.sandbox.release(&purchase.instance_id, false)?;
    let whole = |spans: &[SeenSpan]| {
        let mut traces: BTreeMap<&[u8], Vec<&SeenSpan>> = BTreeMap::new();
        for span in spans {
            traces.entry(&span.trace).or_default().push(span);
        }
        traces
            .into_values()
            .find(|trace| {
                let has = |service: &str, name: &str, attribute: &str| {
                    trace.iter().any(|span| {
                        span.service == service
                            && span.name.contains(name)
                            && (attribute.is_empty() || span.attributes.iter().any(|a| a.contains(attribute)))
                    })
                };
                has("marketplace-gateway", "callback", "cancelled")
                    && has("billing-svc", "rpc", "RecordMarketplaceEvents")
                    && has("billing-svc", "apply_event", "cancelled")
                    && has("billing-svc", "deliver", "topic=mail")
            })
            .is_some()
    };
    let found = system
        .eventually("one trace holds all three", async || Ok(whole(&collector.spans()).then_some(())))
        .await;
    if let Err(error) = found {
        let mut names: Vec<String> = collector
            .spans()
            .iter()
            .filter(|span| !span.attributes.iter().any(|attribute| attribute.contains("AdvanceClock")))
            .map(|span| {
                format!("{} {} {:02x?} {:?}", span.service, span.name, &span.trace[..4], span.attributes)
            })
            .collect();
        names.sort();
        names.dedup();
        return Err(error.context(names.join("\n")));
    }
    let history = system.history(&paid.workspace).await?;
    anyhow::ensure!(history.len() == 2, "{history:?}");
    Ok(())
}
