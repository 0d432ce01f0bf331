//! `tandem callback`: makes or sends a correctly signed callback of a cloud, for trials.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use tandem_adapters::callback::{CallbackAction, CallbackFields, SignedCallback};
use tandem_proto::vendor::Vendor;
use tandem_service_kit::config::SecretRef;
use tandem_service_kit::{fresh, identity};

use crate::cli::Global;
use crate::client::http::send_callback;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};
use crate::up::market::Market;

/// Make or send a correctly signed callback of a cloud.
///
/// The gateway cannot tell it from the cloud's own. Use it on systems that run for trials.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem callback send alibaba release --instance 1551234567
  tandem callback send alibaba create --instance 1551234567 --account 1744000000000001
  tandem callback send alibaba renew --instance 1551234567 --expires-at 2027-03-01T00:00:00+08:00
  tandem callback sign alibaba expire --instance 1551234567 --key-env ISV_KEY

Actions: create, renew, upgrade, expire, release, refund-renew, order-pay, land")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Print the callback's address, signed
    Sign(Callback),
    /// Send the callback and print the answer
    Send(Callback),
}

#[derive(Debug, clap::Args)]
struct Callback {
    /// The cloud: alibaba; aws, huawei and azure have no adapter yet
    vendor: Vendor,
    /// What happened
    action: CallbackAction,
    /// The purchase's number
    #[arg(long)]
    instance: Option<String>,
    /// The buyer's account number
    #[arg(long)]
    account: Option<String>,
    /// The order's number [default: a new one]
    #[arg(long)]
    order: Option<String>,
    /// The cloud's product code [default: the sandbox's product]
    #[arg(long)]
    product: Option<String>,
    /// The cloud's name of the plan [default: the sandbox's plan]
    #[arg(long)]
    plan: Option<String>,
    /// It is a trial
    #[arg(long)]
    trial: bool,
    /// Money is given back
    #[arg(long)]
    refund: bool,
    /// When the purchase ends, RFC 3339
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// When the buyer pressed the link, RFC 3339, for `land` [default: the machine's time]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The message's own number, for `order-pay` [default: a new one]
    #[arg(long)]
    message_id: Option<String>,
    /// A further field; may be given more than once
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = pair)]
    fields: Vec<(String, String)>,
    /// The environment variable that holds the signing key [default: the key of `tandem up` under --data]
    #[arg(long, value_name = "NAME", conflicts_with = "key_file")]
    key_env: Option<String>,
    /// The file that holds the signing key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Where callbacks go [default: the gateway's address for this cloud]
    #[arg(long)]
    url: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Makes or sends the callback.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let output = global.output();
    match args.act {
        Act::Sign(callback) => {
            let signed = callback.signed(global)?;
            let url = format!("{}?{}", callback.url(global), signed.query);
            if global.json {
                return output
                    .value(&json!({ "method": signed.method.as_str(), "url": url, "body": signed.body }));
            }
            output.say(&url)
        }
        Act::Send(callback) => {
            let signed = callback.signed(global)?;
            let url = callback.url(global);
            let answer = send_callback(&url, &signed).await?;
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            output.record(&Table::of_one(vec![
                ("action", Cell::text(callback.action.name())),
                ("url", Cell::text(&url)),
                ("status", Cell::Number(answer.status.as_u16().into())),
                ("answer", Cell::text(&body)),
            ]))?;
            let answered: Value = serde_json::from_str(&body).unwrap_or_default();
            if !answer.status.is_success() || answered.get("success") == Some(&Value::Bool(false)) {
                return Err(Failure::failed("the gateway did not take the callback; its log says why"));
            }
            Ok(())
        }
    }
}

impl Callback {
    fn url(&self, global: &Global) -> String {
        let kind = if self.action == CallbackAction::Land { "landing" } else { "callbacks" };
        let base = global.endpoints().callbacks;
        let default = || format!("{}/{kind}/{}", base.trim_end_matches('/'), self.vendor);
        self.url.clone().unwrap_or_else(default)
    }

    fn key(&self, global: &Global) -> Result<SecretString> {
        match (&self.key_env, &self.key_file) {
            (Some(name), _) => Ok(SecretRef::Env(name.clone()).resolve()?),
            (None, Some(path)) => Ok(SecretRef::File(path.clone()).resolve()?),
            (None, None) => global.data_dir().secret(&Market::shipped()?.callback_secret),
        }
    }

    fn signed(&self, global: &Global) -> Result<SignedCallback> {
        let market = Market::shipped()?;
        let fields = CallbackFields {
            instance: self.instance.clone(),
            account: self.account.clone(),
            // Real order numbers have 15 digits and no leading zero.
            order: self.order.clone().or_else(|| Some(format!("2{}", fresh::random_digits(14)))),
            product: self.product.clone().or(Some(market.product)),
            plan: self.plan.clone().or(Some(market.plan)),
            trial: self.trial,
            refund: self.refund,
            expires_at: self.expires_at,
            at: self.at.or_else(|| Some(identity::real_now())),
            message_id: self.message_id.clone().or_else(|| Some(fresh::fresh_uuid().simple().to_string())),
            extra: self.fields.clone(),
        };
        let signed = tandem_adapters::sign_callback(self.vendor, &self.key(global)?, self.action, &fields);
        signed.map_err(|error| Failure::Usage(error.to_string()))
    }
}
