//! Configuration: shipped defaults, then a TOML file, then the environment. Unknown keys are refused, secrets are never
//! written inline, and every error names the key and where it came from.

mod sections;

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

pub use sections::{
    CallerSection, DatabaseSection, IdentitySection, LogFormat, MailMode, MailSection, ServerSection,
    SmsMode, SmsSection, TelemetrySection,
};

/// Shortest secret that is accepted (`reliability.md` section 8).
const SECRET_BYTES_MIN: usize = 24;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("{origin} is not TOML: {message}")]
    Syntax {
        /// The file, or the shipped defaults.
        origin: String,
        /// Where and why.
        message: String,
    },
    /// A key is unknown, missing or has a value of the wrong kind.
    #[error("{origin}: {message}")]
    Key {
        /// The file or the variable that brought it.
        origin: String,
        /// The key and what is wrong.
        message: String,
    },
    /// A secret is missing or unusable.
    #[error("secret {name}: {message}")]
    Secret {
        /// The variable or the file.
        name: String,
        /// What is wrong, without the value.
        message: String,
    },
}

/// Reads a configuration: `defaults_toml`, then `file`, then variables such as `TANDEM_BILLING__DATABASE__URL` for
/// `database.url` when `env_prefix` is `TANDEM_BILLING`.
///
/// Structs must `deny_unknown_fields`, so that a misspelt key is refused wherever it stands.
pub fn load<T: DeserializeOwned>(
    defaults_toml: &str,
    file: Option<&Path>,
    env_prefix: &str,
) -> Result<T, ConfigError> {
    let text = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            Some((path, text.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?))
        }
        None => None,
    };
    let file = text.as_ref().map(|(path, text)| (path.display().to_string(), text.as_str()));
    load_from(defaults_toml, file, env_prefix, std::env::vars())
}

/// One source: what it is called in errors, and what it says.
#[derive(Clone)]
struct Layer {
    origin: String,
    table: Table,
}

/// [`load`] with the file's text and the variables handed in, for tests and for `check-config`.
pub fn load_from<T: DeserializeOwned>(
    defaults_toml: &str,
    file: Option<(String, &str)>,
    env_prefix: &str,
    vars: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let mut layers = vec![parse("the shipped defaults".to_owned(), defaults_toml)?];
    if let Some((origin, text)) = file {
        layers.push(parse(origin, text)?);
    }
    let prefix = format!("{env_prefix}__");
    let mut vars: Vec<_> = vars.into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
    vars.sort();
    for (name, value) in vars {
        let path: Vec<String> = name[prefix.len()..].split("__").map(str::to_lowercase).collect();
        if path.iter().any(String::is_empty) {
            let message = "the name has an empty part between `__`".to_owned();
            return Err(ConfigError::Key { origin: format!("variable {name}"), message });
        }
        layers.push(variable::<T>(&layers, name, &path, &value));
    }
    read::<T>(&layers).map_err(|message| ConfigError::Key { origin: blame::<T>(&layers, &message), message })
}

fn parse(origin: String, text: &str) -> Result<Layer, ConfigError> {
    match text.parse::<Table>() {
        Ok(table) => Ok(Layer { origin, table }),
        Err(error) => Err(ConfigError::Syntax { origin, message: error.to_string().trim().to_owned() }),
    }
}

/// A variable's value is a text where the layers below have one, else TOML if it reads as such and the result fits.
fn variable<T: DeserializeOwned>(below: &[Layer], name: String, path: &[String], value: &str) -> Layer {
    let layer = |value| Layer { origin: format!("variable {name}"), table: nested(path, value) };
    let text = layer(Value::String(value.to_owned()));
    if matches!(look_up(&merged(below), path), Some(Value::String(_))) {
        return text;
    }
    let Ok(parsed) = format!("v = {value}").parse::<Table>() else { return text };
    let Some(parsed) = parsed.get("v").cloned().map(layer) else { return text };
    let outcome = |layer: &Layer| read::<T>(&[below, std::slice::from_ref(layer)].concat()).err();
    let (as_parsed, as_text) = (outcome(&parsed), outcome(&text));
    // Another variable may be what is missing or wrong, so the kind is chosen by whether it changes the outcome.
    if as_parsed.is_some() && as_parsed != as_text && as_text == outcome_without::<T>(below) {
        text
    } else {
        parsed
    }
}

fn outcome_without<T: DeserializeOwned>(below: &[Layer]) -> Option<String> {
    read::<T>(below).err()
}

fn nested(path: &[String], value: Value) -> Table {
    let mut value = value;
    for key in path.iter().rev() {
        value = Value::Table(Table::from_iter([(key.clone(), value)]));
    }
    match value {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

fn look_up<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (last, groups) = path.split_last()?;
    let mut table = table;
    for group in groups {
        table = table.get(group)?.as_table()?;
    }
    table.get(last)
}

fn merged(layers: &[Layer]) -> Table {
    let mut whole = Table::new();
    for layer in layers {
        merge(&mut whole, &layer.table);
    }
    whole
}

fn merge(into: &mut Table, from: &Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if !is_secret(new) => merge(old, new),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A secret's reference replaces the one below it whole: `{ file = … }` over `{ env = … }` must not become both.
fn is_secret(table: &Table) -> bool {
    table.len() == 1 && table.keys().all(|key| key == "env" || key == "file")
}

fn read<T: DeserializeOwned>(layers: &[Layer]) -> Result<T, String> {
    T::deserialize(Value::Table(merged(layers))).map_err(|error| error.to_string().trim().replace('\n', " "))
}

/// The layer without which the error would not be there, looking from the top.
fn blame<T: DeserializeOwned>(layers: &[Layer], message: &str) -> String {
    for index in (1..layers.len()).rev() {
        let mut without = layers.to_vec();
        let layer = without.remove(index);
        if read::<T>(&without).err().as_deref() != Some(message) {
            return layer.origin;
        }
    }
    "the configuration".to_owned()
}

/// Where a secret is kept: `{ env = "NAME" }` or `{ file = "path" }`. A value written inline is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// In an environment variable.
    Env(String),
    /// In a file; surrounding white space is not part of it.
    File(PathBuf),
}

const SECRET_FORM: &str = "`{ env = \"NAME\" }` or `{ file = \"path\" }`";

/// By hand, because a derived error would quote an inline value, which is the very secret.
impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretRef, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = SecretRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SECRET_FORM)
            }

            fn visit_str<E: de::Error>(self, _inline: &str) -> Result<SecretRef, E> {
                Err(E::custom(format!("a secret is not written inline, expected {SECRET_FORM}")))
            }

            fn visit_i64<E: de::Error>(self, _inline: i64) -> Result<SecretRef, E> {
                self.visit_str("")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
                let found = match map.next_key::<String>()?.as_deref() {
                    Some("env") => SecretRef::Env(map.next_value()?),
                    Some("file") => SecretRef::File(map.next_value()?),
                    _ => return Err(de::Error::custom(format!("a secret is {SECRET_FORM}"))),
                };
                match map.next_key::<String>()? {
                    None => Ok(found),
                    Some(_) => Err(de::Error::custom(format!("a secret is {SECRET_FORM}, not both"))),
                }
            }
        }

        deserializer.deserialize_any(Form)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "variable {name}"),
            SecretRef::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl SecretRef {
    /// Reads the secret.
    ///
    /// Fails when it is missing, shorter than 24 bytes or looks like a sample (`reliability.md` section 8); the error
    /// names the variable or the file, never the value.
    pub fn resolve(&self) -> Result<SecretString, ConfigError> {
        let fail =
            |message: &str| ConfigError::Secret { name: self.to_string(), message: message.to_owned() };
        let text = match self {
            SecretRef::Env(name) => std::env::var(name).map_err(|_| fail("is not set"))?,
            SecretRef::File(path) => std::fs::read_to_string(path).map_err(|_| fail("cannot be read"))?,
        };
        let secret = SecretString::from(text.trim().to_owned());
        check_secret(secret.expose_secret()).map_err(fail)?;
        Ok(secret)
    }
}

fn check_secret(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() < SECRET_BYTES_MIN {
        return Err("is shorter than 24 bytes");
    }
    let lower = text.to_lowercase();
    let samples = ["changeme", "change-me", "change_me", "example", "placeholder", "your-secret", "mysecret"];
    let first = text.chars().next();
    let repeats = text.chars().all(|c| Some(c) == first);
    let words =
        lower.split(|c: char| !c.is_alphanumeric()).all(|word| ["secret", "password", ""].contains(&word));
    if repeats || words || samples.iter().any(|sample| lower.contains(sample)) {
        return Err("looks like a sample value; make a real one");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
