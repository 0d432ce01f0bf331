//! The folder that `tandem up` keeps its state in, and where the command line finds the keys.
//!
//! ```text
//! data/console.db, billing.db     the databases
//! data/mail/*.eml                 mail
//! data/sandbox.json               what the sandbox cloud remembers
//! data/payments.json              what the sandbox payment provider remembers
//! data/keys/                      secrets, each in a file that only its owner can read
//! data/endpoints.json             where the running `tandem up` listens
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tandem_proto::common::v1::Role;
use tandem_service_kit::config::SecretRef;
use tandem_service_kit::fresh;
use tandem_service_kit::identity::{Signer, SigningKey, role_name};

use crate::failure::{Attempt as _, Failure, Result};

/// Signs service tokens.
pub const IDENTITY_KEY: &str = "identity.key";

/// A second operator, for acts that take two people. Its key is a file of its own, so that it can be given to somebody
/// else and taken away from the first.
pub const APPROVER: &str = "approver";
/// The second operator's key.
pub const APPROVER_KEY: &str = "approver.key";

/// Every role a token can be made for.
pub const ROLES: [Role; 7] = [
    Role::Operator,
    Role::Portal,
    Role::UsageSource,
    Role::Follower,
    Role::Console,
    Role::Billing,
    Role::Gateway,
];

/// Where a running `tandem up` listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The Console's gRPC address.
    pub console: String,
    /// Billing's gRPC address.
    pub billing: String,
    /// The gateway's gRPC address.
    pub gateway: String,
    /// Where the gateway takes callbacks.
    pub callbacks: String,
    /// The sandbox cloud.
    pub sandbox: String,
    /// Where `/metrics` is served.
    pub metrics: String,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Names the folder; nothing is made yet.
    pub fn new(root: impl Into<PathBuf>) -> DataDir {
        DataDir { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where mail is written.
    pub fn mail(&self) -> PathBuf {
        self.path("mail")
    }

    /// Where text messages are written.
    pub fn texts(&self) -> PathBuf {
        self.path("sms")
    }

    /// The URL of an SQLite database in it.
    pub fn sqlite_url(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    /// Makes the folder and whatever secret is missing in it: the signing key, and a random one for each of these names.
    /// Secrets that are there stay.
    pub fn prepare(&self, random: &[&str]) -> Result<()> {
        let make = |path: &Path, mode| {
            let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
            made.attempt(|| format!("making the folder {}", path.display()))
        };
        make(&self.root, 0o755)?;
        make(&self.mail(), 0o755)?;
        make(&self.path("keys"), 0o700)?;
        for key in [IDENTITY_KEY, APPROVER_KEY] {
            self.secret_once(key, || Ok(SigningKey::generate()?.to_secret()))?;
        }
        random.iter().try_for_each(|name| self.secret_once(name, || Ok(fresh::random_token().into())))
    }

    /// Takes the folder for this process until the returned file is dropped.
    ///
    /// Fails when another `tandem up` runs on it.
    pub fn lock(&self) -> Result<File> {
        let path = self.path("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.attempt(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(_) => Err(Failure::failed(format!(
                "another `tandem up` runs on {}; stop it, or name another folder with --data",
                self.root.display()
            ))),
        }
    }

    /// Where a secret of this folder is.
    pub fn secret_ref(&self, name: &str) -> SecretRef {
        SecretRef::File(self.path("keys").join(name))
    }

    /// Reads a secret of this folder.
    ///
    /// Fails when `tandem up` has not made it yet.
    pub fn secret(&self, name: &str) -> Result<SecretString> {
        let path = self.path("keys").join(name);
        let text = std::fs::read_to_string(&path).attempt(|| {
            let keys = path.display();
            format!(
                "reading {keys}; `tandem up` makes it, --data names its folder, TANDEM_TOKEN needs no key"
            )
        })?;
        Ok(SecretString::from(text.trim().to_owned()))
    }

    /// Makes tokens in the name of a role: each role is a caller of that name.
    pub fn signer(&self, role: Role) -> Result<Signer> {
        let key = SigningKey::from_secret(&self.secret(IDENTITY_KEY)?)?;
        Ok(Signer::new(role_name(role), role, key))
    }

    /// Makes tokens in the name of the second operator.
    pub fn approver(&self) -> Result<Signer> {
        let key = SigningKey::from_secret(&self.secret(APPROVER_KEY)?)?;
        Ok(Signer::new(APPROVER, Role::Operator, key))
    }

    /// Remembers where the running process listens.
    pub fn write_endpoints(&self, endpoints: &Endpoints) -> Result<()> {
        let text = serde_json::to_string_pretty(endpoints).attempt(|| "writing JSON".to_owned())?;
        let path = self.path("endpoints.json");
        std::fs::write(&path, text + "\n").attempt(|| format!("writing {}", path.display()))
    }

    /// Where a process that runs on this folder listens; `None` when none was ever started.
    pub fn endpoints(&self) -> Option<Endpoints> {
        serde_json::from_str(&std::fs::read_to_string(self.path("endpoints.json")).ok()?).ok()
    }

    fn secret_once(&self, name: &str, make: impl FnOnce() -> Result<SecretString>) -> Result<()> {
        let path = self.path("keys").join(name);
        if path.exists() {
            return Ok(());
        }
        // Written whole under another name first, so that a crash leaves no half key behind.
        let new = path.with_extension("new");
        let attempt = || format!("writing {}", path.display());
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(true).write(true).mode(0o600).open(&new).attempt(attempt)?;
        let secret = make()?;
        file.write_all(secret.expose_secret().as_bytes()).attempt(attempt)?;
        file.sync_all().attempt(attempt)?;
        std::fs::rename(&new, &path).attempt(attempt)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_made_once_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        data.prepare(&["shared"]).unwrap();
        let before = data.secret(IDENTITY_KEY).unwrap().expose_secret().to_owned();
        data.prepare(&["shared"]).unwrap();
        assert_eq!(data.secret(IDENTITY_KEY).unwrap().expose_secret(), before);
        for name in [IDENTITY_KEY, APPROVER_KEY, "shared"] {
            let mode = std::fs::metadata(data.path("keys").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            assert!(data.secret_ref(name).resolve().is_ok(), "{name} is refused as a secret");
        }
        assert_eq!(data.signer(Role::Operator).unwrap().name(), "operator");
        assert_eq!(data.approver().unwrap().name(), "approver");
    }

    #[test]
    fn only_one_process_uses_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        let held = data.lock().unwrap();
        assert!(data.lock().is_err());
        drop(held);
        assert!(data.lock().is_ok());
    }
}
