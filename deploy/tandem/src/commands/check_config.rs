//! `tandem check-config`: says what is wrong with a configuration, or what it comes to.

use std::path::PathBuf;

use clap::ValueEnum;
use tandem_billing::config::Config as BillingConfig;
use tandem_console::config::Config as ConsoleConfig;
use tandem_gateway::config::Config as GatewayConfig;
use tandem_service_kit::config::{IdentitySection, SecretRef};

use crate::cli::Global;
use crate::failure::{Failure, Result};

/// Say what is wrong with a configuration, or print what it comes to.
///
/// Reads the shipped defaults, then the file, then the environment, as the service does when it starts, and every secret
/// it names. Secrets are shown as where they are kept, never as what they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem check-config billing billing.toml
  TANDEM_CONSOLE__DATABASE__URL=postgres://tandem@db/console tandem check-config console")]
pub struct Args {
    /// Whose configuration
    #[arg(value_enum)]
    service: Service,
    /// The file [default: none, only defaults and environment]
    file: Option<PathBuf>,
    /// Do not read the secrets; for a machine that does not have them
    #[arg(long)]
    without_secrets: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    /// console-svc
    Console,
    /// billing-svc
    Billing,
    /// marketplace-gateway
    Gateway,
}

/// Checks and prints.
pub fn run(global: &Global, args: Args) -> Result<()> {
    let file = args.file.as_deref();
    let (text, identity, secrets) = match args.service {
        Service::Console => {
            let config = ConsoleConfig::load(file)?;
            config.sites()?;
            let secrets = [config.mail.smtp_password.clone(), config.database.password.clone()];
            (format!("{config:#?}"), config.identity, secrets.into_iter().flatten().collect())
        }
        Service::Billing => {
            let config = BillingConfig::load(file)?;
            let secrets = [config.mail.smtp_password.clone(), config.database.password.clone()];
            (format!("{config:#?}"), config.identity, secrets.into_iter().flatten().collect())
        }
        Service::Gateway => {
            let config = GatewayConfig::load(file)?;
            let sections = config.vendors.values().chain(config.payments.values());
            let secrets = sections.flat_map(|section| section.secrets.values().cloned()).collect();
            (format!("{config:#?}"), config.identity, secrets)
        }
    };
    identity.verifier()?;
    if !args.without_secrets {
        check_secrets(&identity, secrets)?;
    }
    let output = global.output();
    if global.json {
        return output.value(&serde_json::json!({ "ok": true }));
    }
    output.say(&text)?;
    output.say(&output.style.green("the configuration can be used"))
}

/// Reads every secret and names all that cannot be used, then makes sure that the key is one.
fn check_secrets(identity: &IdentitySection, mut secrets: Vec<SecretRef>) -> Result<()> {
    secrets.extend(identity.key.clone());
    let wrong: Vec<String> =
        secrets.iter().filter_map(|s| s.resolve().err()).map(|e| e.to_string()).collect();
    if !wrong.is_empty() {
        return Err(Failure::failed(wrong.join("\n       ")));
    }
    identity.signer()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tandem_service_kit::clock::{Clock as _, SystemClock};

    use super::*;

    fn example(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)
    }

    #[test]
    fn the_example_configurations_are_what_the_services_read() {
        let console = ConsoleConfig::load(Some(&example("console.toml"))).unwrap();
        assert!(console.sites().unwrap().get("cn1").is_some());
        assert!(console.identity.verifier().is_ok());
        let billing = BillingConfig::load(Some(&example("billing.toml"))).unwrap();
        assert!(billing.identity.verifier().is_ok());
        let gateway = GatewayConfig::load(Some(&example("gateway.toml"))).unwrap();
        assert!(gateway.identity.verifier().is_ok());
        assert_eq!(gateway.vendors.len(), 1);
    }

    #[test]
    fn the_example_of_a_cloud_is_what_its_adapter_reads() {
        let mut gateway = GatewayConfig::load(Some(&example("gateway.toml"))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "c2VjcmV0LWZvci10aGlzLXRlc3Qtb25seQ").unwrap();
        for vendor in gateway.vendors.values_mut() {
            vendor.secrets.values_mut().for_each(|place| *place = SecretRef::File(secret.clone()));
        }
        for (name, place) in gateway.payments.values_mut().flat_map(|section| &mut section.secrets) {
            let own = folder.path().join(name);
            std::fs::write(&own, format!("c2VjcmV0LWZvci10aGlzLXRlc3Qtb25seQ-{name}")).unwrap();
            *place = SecretRef::File(own);
        }
        let clock = SystemClock::new();
        let surroundings = tandem_adapters::Surroundings {
            now: std::sync::Arc::new(move || clock.now()),
            fresh: std::sync::Arc::new(tandem_service_kit::fresh::fresh_uuid),
        };
        assert_eq!(gateway.open_vendors(&surroundings).unwrap().len(), 1);
        assert_eq!(gateway.open_payments(&surroundings).unwrap().len(), 1);
    }
}
