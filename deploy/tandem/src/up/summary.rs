//! What `tandem up` says when it is ready.

use std::fmt::Write as _;

use jiff::Timestamp;
use tandem_proto::common::v1::Role;
use tandem_service_kit::identity::LIFETIME_SECS_MAX;

use crate::client::AUDIENCES;
use crate::data_dir::{DataDir, Endpoints};
use crate::failure::Result;
use crate::output::Style;

/// Addresses, where mail goes, a token, and a line to paste.
///
/// `test_clock` is the business time, when it can be moved.
pub fn summary(
    data: &DataDir,
    endpoints: &Endpoints,
    test_clock: Option<Timestamp>,
    style: Style,
) -> Result<String> {
    let token = data.signer(Role::Operator)?.token_now(&AUDIENCES);
    let console = endpoints.console.trim_start_matches("http://");
    let mut text = style.bold("Tandem is up.\n");
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<22} {value}");
    };
    row("Console, gRPC", console);
    row("Billing, gRPC", endpoints.billing.trim_start_matches("http://"));
    row("gateway, gRPC", endpoints.gateway.trim_start_matches("http://"));
    row("callbacks and landing", &endpoints.callbacks);
    row("sandbox cloud", &endpoints.sandbox);
    row("metrics", &format!("{}/metrics", endpoints.metrics));
    row("mail", &format!("{}/*.eml", data.mail().display()));
    row("state", &data.root().display().to_string());
    match test_clock {
        Some(now) => {
            row("clock", &format!("stands at {now} and runs on; move it: tandem clock advance --by 1d"))
        }
        None => row("clock", "the machine's"),
    }
    let _ = write!(
        text,
        "\nAn operator's token, good for {LIFETIME_SECS_MAX} seconds; `tandem token` prints a fresh one:\n\n{token}\n\n\
         Try it:\n\n  grpcurl -plaintext -H 'authorization: Bearer {token}' {console} \
         tandem.console.v1.AccountService/ListSites\n\nCtrl-C stops it. Log lines follow on standard error.\n"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_a_line_to_paste_and_no_secret() {
        use secrecy::ExposeSecret as _;
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        data.prepare(&[]).unwrap();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let endpoints = Endpoints {
            console: url(1),
            billing: url(2),
            gateway: url(3),
            callbacks: url(4),
            sandbox: url(5),
            metrics: url(6),
        };
        let text = summary(&data, &endpoints, None, Style::PLAIN).unwrap();
        assert!(text.contains("127.0.0.1:1 tandem.console.v1.AccountService/ListSites"), "{text}");
        assert!(!text.contains(data.secret(crate::data_dir::IDENTITY_KEY).unwrap().expose_secret()));
    }
}
