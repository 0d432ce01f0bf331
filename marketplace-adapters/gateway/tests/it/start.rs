//! What stops the start, and what an operator sees of a running gateway.

use std::sync::Arc;

use tandem_adapters::Surroundings;
use tandem_adapters::callback::CallbackAction;
use tandem_gateway::config::Config;
use tandem_gateway::{App, Error, Listeners};
use tandem_service_kit::clock::TestClock;
use tandem_service_kit::fresh::fresh_uuid;

use crate::harness::{CALLBACKS, Harness, KEY, PRODUCT, fields, now, signed};

fn surroundings() -> Surroundings {
    Surroundings { now: Arc::new(now), fresh: Arc::new(fresh_uuid) }
}

/// The problem with a vendor's section, with a market and these lines.
fn problem(lines: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, KEY).unwrap();
    let file = folder.path().join("gateway.toml");
    let text = format!(
        "[vendors.alibaba]\nmarket = 'china'\nproducts.{PRODUCT}.plans = {{ '{PRODUCT}-postpay' = 'commercial' }}\n\
         app_info = {{ front_end_url = 'https://a.example.com', admin_url = 'https://a.example.com',\
         auth_url = 'https://a.example.com' }}\n{}",
        lines.replace("SECRET", &format!("{{ file = '{}' }}", secret.display()))
    );
    std::fs::write(&file, text).unwrap();
    let opened =
        Config::load(Some(&file)).and_then(|config| config.open_vendors(&surroundings()).map(|_| ()));
    opened.map_or_else(|error| error.to_string(), |()| String::new())
}

#[test]
fn a_secret_that_is_missing_misspelt_or_inline_stops_the_start() {
    let all =
        "secrets.isv_key = SECRET\nsecrets.access_key_id = SECRET\nsecrets.access_key_secret = SECRET\n";
    assert_eq!(problem(all), "");
    for name in ["isv_key", "access_key_id", "access_key_secret"] {
        let fewer: Vec<&str> = all.lines().filter(|line| !line.contains(&format!("{name} "))).collect();
        let said = problem(&fewer.join("\n"));
        assert!(said.contains("vendors.alibaba") && said.contains(name), "{said}");
        let said = problem(
            &all.replace(&format!("{name} = SECRET"), &format!("{name} = {{ env = 'TANDEM_NOT_SET' }}")),
        );
        assert!(said.contains("TANDEM_NOT_SET"), "{said}");
    }
    assert!(problem(&format!("{all}secrets.isv-key = SECRET\n")).contains("isv-key"));
    let inline = problem(&all.replace("isv_key = SECRET", &format!("isv_key = '{KEY}'")));
    assert!(!inline.is_empty() && !inline.contains(KEY), "{inline}");
    assert!(problem(&format!("{all}strikt_ids = true\n")).contains("strikt_ids"));
}

#[tokio::test]
async fn a_gateway_that_cannot_say_who_it_is_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, "[server]\nlisten = '127.0.0.1:0'\n[http]\nlisten = '127.0.0.1:0'\n").unwrap();
    let config = Config::load(Some(&file)).unwrap();
    let listeners = Listeners::bind(&config).await.unwrap();
    let built = App::build(config, listeners, Arc::new(TestClock::frozen(now())));
    assert!(matches!(built.err(), Some(Error::NoKey)));
}

#[tokio::test]
async fn an_operator_sees_outcomes_refusals_and_alarms_and_the_process_stops_when_asked() {
    let gateway = Harness::start().await;
    gateway.get(CALLBACKS, &signed(CallbackAction::Release, &fields())).await;
    gateway.get(CALLBACKS, "token=0").await;
    let mut unknown = fields();
    unknown.product = Some("cmgj00099999".to_owned());
    gateway.get(CALLBACKS, &signed(CallbackAction::Create, &unknown)).await;
    let text = gateway.metrics_text().await;
    let line = |name: &str, label: &str| {
        text.lines()
            .any(|line| line.starts_with(name) && line.contains(label) && line.contains("vendor=\"alibaba\""))
    };
    assert!(line("tandem_gateway_callbacks_total", "outcome=\"applied\""), "{text}");
    assert!(line("tandem_gateway_callback_duration", "outcome=\"applied\""), "{text}");
    assert!(line("tandem_gateway_refused_total", "reason=\"wrong_proof\""), "{text}");
    assert!(line("tandem_gateway_alarms_total", "kind=\"unknown_product\""), "{text}");
    gateway.stop().await;
}
