//! Documents: where the bytes of a PDF go.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::ValueEnum;
use tandem_proto::billing::v1::GetBillDocumentRequest;
use tandem_proto::billing::v1::get_bill_document_request::Bill;
use tandem_proto::common::v1::Language;

use crate::cli::Global;
use crate::client::Clients;
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

/// Where a document goes, and in which language it is.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The file to write; `-` writes to standard output [default: the document's own name]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Its language [default: the account's]
    #[arg(long, value_enum)]
    language: Option<Tongue>,
}

/// The languages of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tongue {
    /// Chinese
    Zh,
    /// English
    En,
}

impl Target {
    /// The wished language as a message has it.
    pub(super) fn language(&self) -> i32 {
        let language = match self.language {
            None => Language::Unspecified,
            Some(Tongue::Zh) => Language::Zh,
            Some(Tongue::En) => Language::En,
        };
        language.into()
    }

    /// Writes a document and says where it is.
    pub(super) fn write(&self, global: &Global, pdf: &[u8], file_name: &str) -> Result<()> {
        let path = self.output.clone().unwrap_or_else(|| PathBuf::from(file_name));
        if path.as_os_str() == "-" {
            let mut out = std::io::stdout();
            if out.is_terminal() {
                return Err(Failure::failed("a terminal cannot show a PDF; name a file with -o"));
            }
            return out.write_all(pdf).attempt(|| "writing to standard output".to_owned());
        }
        std::fs::write(&path, pdf).attempt(|| format!("writing {}", path.display()))?;
        let bytes = i64::try_from(pdf.len()).unwrap_or(i64::MAX);
        global.output().record(&Table::of_one(vec![
            ("file", Cell::text(path.display().to_string())),
            ("bytes", Cell::Number(bytes)),
        ]))
    }
}

/// Writes the document of a bill: `bil_…`, or a month such as 2026-03.
pub(super) async fn bill(
    global: &Global,
    clients: &Clients,
    account: &str,
    bill: &str,
    to: &Target,
) -> Result<()> {
    let of = bill.to_owned();
    let request = GetBillDocumentRequest {
        billing_account_id: clients.billing_account_id(account).await?,
        bill: Some(if bill.starts_with("bil_") { Bill::BillId(of) } else { Bill::Month(of) }),
        language: to.language(),
    };
    let made = clients.documents().get_bill_document(request).await?.into_inner();
    to.write(global, &made.pdf, &made.file_name)
}
