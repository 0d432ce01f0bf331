//! I-33: nothing secret stands in a log line.

use tandem_adapters::alibaba::sign_query;
use tandem_adapters::callback::CallbackAction;

use crate::harness::{CALLBACKS, Harness, INSTANCE, KEY, KEY_SECRET, LANDING, fields, log_lines, signed};

#[tokio::test]
async fn logs_hold_no_proof_no_key_and_no_access_data() {
    let gateway = Harness::start().await;
    gateway.billing.announce(INSTANCE);
    let mut asked = Vec::new();
    for action in CallbackAction::ALL {
        let query = signed(action, &fields());
        gateway.get(CALLBACKS, &query).await;
        asked.push(query);
    }
    let canary = sign_query(
        KEY,
        &[
            ("action", "explodeInstance"),
            ("AppJson", "canary-app"),
            ("password", "canary-word"),
            ("note", "canary-note"),
        ],
    );
    for query in [canary.clone(), format!("{canary}&more=canary-more")] {
        gateway.get(CALLBACKS, &query).await;
        gateway.get(LANDING, &query).await;
        asked.push(query);
    }
    let tokens = asked.iter().filter_map(|query| query.split("token=").nth(1)).map(|rest| &rest[..32]);
    let lines = log_lines();
    assert!(
        lines.contains("answered a callback") && lines.contains("unknown_action"),
        "nothing was logged at all"
    );
    for secret in tokens.chain([KEY, KEY_SECRET, "canary", "Bearer", &"a".repeat(32)]) {
        assert!(!lines.contains(secret), "{secret} stands in the log");
    }
}
