//! The payment provider that `tandem up` plays, and the gateway's section for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tandem_adapters::payment::sandbox::{PaymentSandbox, PaymentSandboxConfig};
use tandem_gateway::config::VendorSection;
use tandem_proto::payment::PaymentChannel;
use tandem_service_kit::clock::SharedClock;

use crate::data_dir::{DataDir, Endpoints};
use crate::failure::{Attempt as _, Result};

/// The channel that the sandbox serves.
pub(super) const CHANNEL: PaymentChannel = PaymentChannel::Alipay;
/// Who we are at the sandbox.
const MERCHANT: &str = "tandem";
/// The adapter's secrets, and their names among those of the folder.
const SECRETS: [(&str, &str); 2] = [("api_key", "payment_api_key"), ("notice_key", "payment_notice_key")];
/// Time between two tries of a notice.
const SPACING: Duration = Duration::from_millis(500);

/// The names of the folder's secrets that both sides share.
pub(super) fn secret_names() -> [&'static str; 2] {
    SECRETS.map(|(_, name)| name)
}

/// The gateway's section for the sandbox.
pub(super) fn section(data: &DataDir, endpoints: &Endpoints) -> VendorSection {
    let settings = json!({
        "adapter": "hosted_page",
        "merchant": MERCHANT,
        "base_url": format!("{}/payments", endpoints.sandbox),
        "notify_url": format!("{}/payments/{}", endpoints.callbacks, CHANNEL.name()),
        "allow_insecure": true,
    });
    let secrets = SECRETS.map(|(secret, name)| (secret.to_owned(), data.secret_ref(name)));
    let settings = settings.as_object().cloned().unwrap_or_default();
    VendorSection { secrets: secrets.into_iter().collect(), settings }
}

/// The sandbox, with what it remembers from before.
pub(super) fn sandbox(data: &DataDir, endpoints: &Endpoints, clock: &SharedClock) -> Result<PaymentSandbox> {
    let mut secrets: BTreeMap<String, SecretString> = BTreeMap::new();
    for (secret, name) in SECRETS {
        secrets.insert(secret.to_owned(), data.secret(name)?);
    }
    let config = PaymentSandboxConfig {
        merchant: MERCHANT.to_owned(),
        secrets,
        base_url: endpoints.sandbox.clone(),
        spacing: SPACING,
        state_file: Some(data.path("payments.json")),
    };
    let clock = clock.clone();
    PaymentSandbox::new(config, Arc::new(move || clock.now()))
        .attempt(|| "starting the payment sandbox".to_owned())
}
