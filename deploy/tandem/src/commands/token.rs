//! `tandem token`: a fresh service token, for grpcurl and scripts.

use clap::ValueEnum;
use tandem_proto::common::v1::Role;
use tandem_service_kit::identity::LIFETIME_SECS_MAX;

use crate::cli::Global;
use crate::client::AUDIENCES;
use crate::failure::Result;

/// Print a fresh service token, made with the key under --data.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem token
  grpcurl -plaintext -H \"authorization: Bearer $(tandem token)\" 127.0.0.1:50051 tandem.console.v1.AccountService/ListSites
  TANDEM_TOKEN=$(tandem token --role portal) tandem wallet lin_teahouse")]
pub struct Args {
    /// What the caller is; each method of the contract names the roles that may call it
    #[arg(long, value_enum, default_value_t = RoleName::Operator)]
    role: RoleName,
    /// Which service the token is for; may be given more than once [default: all three]
    #[arg(long, value_name = "SERVICE", value_parser = AUDIENCES)]
    audience: Vec<String>,
    /// How long it is good for, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = LIFETIME_SECS_MAX, value_parser = clap::value_parser!(i64).range(1..=LIFETIME_SECS_MAX))]
    lifetime: i64,
}

/// A role's name on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    /// A person or script that runs the system
    Operator,
    /// The back end of the customers' pages
    Portal,
    /// A service that counts usage
    UsageSource,
    /// A service that follows the event feed
    Follower,
    /// The Console itself
    Console,
    /// Billing itself
    Billing,
    /// The gateway itself
    Gateway,
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            RoleName::Operator => Role::Operator,
            RoleName::Portal => Role::Portal,
            RoleName::UsageSource => Role::UsageSource,
            RoleName::Follower => Role::Follower,
            RoleName::Console => Role::Console,
            RoleName::Billing => Role::Billing,
            RoleName::Gateway => Role::Gateway,
        }
    }
}

/// Prints the token and nothing else.
pub fn run(global: &Global, args: Args) -> Result<()> {
    let role = args.role.role();
    let audiences: Vec<&str> = match args.audience.as_slice() {
        [] => AUDIENCES.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let signer = global.data_dir().signer(role)?;
    let token = signer.token(&audiences, role, args.lifetime, tandem_service_kit::identity::real_now());
    if global.json {
        return global
            .output()
            .value(&serde_json::json!({ "token": token, "expires_in_seconds": args.lifetime }));
    }
    global.output().say(&token)
}
