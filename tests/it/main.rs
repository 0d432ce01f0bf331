//! The integration tests: everything that is promised, through what is served, on both engines.

mod approvals;
mod arrears;
mod audit;
mod boundaries;
mod callbacks;
mod changes;
mod cloud_life;
mod contract;
mod debt;
mod disk_full;
mod documented_day;
mod invoices;
mod kills;
mod outages;
mod packages;
mod paging;
mod payments;
mod price_lists;
mod prices;
mod refusals;
mod request_changes;
mod requests;
mod roles;
mod traces;

/// Makes two tests of each `async fn body(engine: Engine) -> anyhow::Result<()>`: one on each engine.
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[doc = $doc:literal])* $body:ident;)+) => {$(
        mod $body {
            use tandem_tests::engine::Engine;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() -> anyhow::Result<()> {
                super::$body(Engine::Sqlite).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() -> anyhow::Result<()> {
                super::$body(Engine::Postgres).await
            }
        }
    )+};
}
