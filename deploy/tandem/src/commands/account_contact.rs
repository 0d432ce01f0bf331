//! `tandem account email` and `tandem account phone`: three steps with two codes (domain.md 3.10).

use clap::ValueEnum;
use tandem_proto::billing::v1::send_contact_code_request::To;
use tandem_proto::billing::v1::{
    ChangeEmailRequest, ChangePhoneRequest, ContactKind, ContactProof, SendContactCodeRequest,
};
use tandem_proto::common::v1::Language;

use super::account::record;
use crate::cli::Once;
use crate::client::{Clients, present};
use crate::failure::{Failure, Result};
use crate::output::Output;

/// What is to be changed, and how far it has come.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The billing account: its id, bac_…, or its username
    account: String,
    /// Where the first code goes, and came from
    #[arg(long, value_enum, default_value = "email")]
    by: By,
    /// The code that came to the present address or phone
    #[arg(long)]
    code: Option<String>,
    /// The new address or phone
    #[arg(long, requires = "code")]
    to: Option<String>,
    /// The code that came to the new address or phone
    #[arg(long, requires = "to")]
    new_code: Option<String>,
    #[command(flatten)]
    once: Once,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The account's mail address
    Email,
    /// The account's phone
    Phone,
}

/// Does the next step.
pub async fn run(clients: &Clients, output: Output, kind: ContactKind, args: Args) -> Result<()> {
    let billing_account_id = clients.billing_account_id(&args.account).await?;
    let request_id = args.once.id();
    let refused = |status| Failure::of_act(status, &request_id);
    let contact = match args.by {
        By::Email => ContactKind::Email,
        By::Phone => ContactKind::Phone,
    };
    let proof = args.code.map(|code| ContactProof { contact: contact.into(), code });
    if let (Some(new), Some(code)) = (&args.to, &args.new_code) {
        let (request_id, new, code) = (request_id.clone(), new.clone(), code.clone());
        let account = match kind {
            ContactKind::Phone => {
                let request =
                    ChangePhoneRequest { request_id, billing_account_id, proof, new_phone: new, code };
                clients.accounts().change_phone(request).await.map_err(refused)?.into_inner().account
            }
            ContactKind::Email | ContactKind::Unspecified => {
                let request =
                    ChangeEmailRequest { request_id, billing_account_id, proof, new_email: new, code };
                clients.accounts().change_email(request).await.map_err(refused)?.into_inner().account
            }
        };
        return output.record(&record(&present(account, "account")?));
    }
    let to = match (&args.to, kind) {
        (None, _) => To::Present(contact.into()),
        (Some(new), ContactKind::Phone) => To::NewPhone(new.clone()),
        (Some(new), _) => To::NewEmail(new.clone()),
    };
    let request = SendContactCodeRequest {
        request_id: request_id.clone(),
        billing_account_id,
        language: Language::En.into(),
        to: Some(to),
        proof,
    };
    let answer = clients.accounts().send_contact_code(request).await.map_err(refused)?.into_inner();
    let next = if args.to.is_some() { "--new-code CODE" } else { "--code CODE --to NEW" };
    output.say(&format!(
        "A code is on its way; it is good for {} minutes. Go on with {next}",
        answer.valid_seconds / 60
    ))
}
