//! Systems that the tests play stories on.

use std::sync::Arc;

use serde_json::Value;
use tandem_service_kit::clock::TestClock;
use tandem_service_kit::db::testing::postgres_with;

use super::stage::Stage;
use crate::data_dir::DataDir;
use crate::failure::Result;
use crate::output::Output;
use crate::up::{Options, System};

/// Plays a story on SQLite and returns its proofs.
pub async fn on_sqlite(story: impl AsyncFnOnce(&Stage) -> Result<Value>) -> Value {
    play(|_| {}, story).await
}

/// Plays a story on PostgreSQL and returns its proofs.
pub async fn on_postgres(story: impl AsyncFnOnce(&Stage) -> Result<Value>) -> Value {
    let console = postgres_with("demo_console", Vec::new).await;
    let billing = postgres_with("demo_billing", Vec::new).await;
    let change = |options: &mut Options| {
        options.console_database = Some(console.section.url.clone());
        options.billing_database = Some(billing.section.url.clone());
    };
    play(change, story).await
}

async fn play(change: impl FnOnce(&mut Options), story: impl AsyncFnOnce(&Stage) -> Result<Value>) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::new(folder.path());
    let clock = TestClock::new("2026-03-01T00:00:00Z".parse().unwrap());
    let mut options = Options::new(data.clone(), Arc::new(clock));
    options.log_filter = Some("error".to_owned());
    change(&mut options);
    let system = System::start(options).await.unwrap();
    let stage = Stage::set(&data, system.endpoints(), Output::new(true), String::new()).await.unwrap();
    let proofs = story(&stage).await;
    system.stop().await.unwrap();
    proofs.unwrap()
}
