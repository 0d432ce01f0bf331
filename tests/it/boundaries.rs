//! Who may import whom (`style.md` section 4), checked on the text of the sources.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Folders, and words that no source in them may hold outside of comments.
const TABLE: &[(&str, &[&str])] = &[
    ("console-svc/src/domain", DOMAIN),
    ("billing-svc/src/domain", DOMAIN),
    ("console-svc/src/store", STORE),
    ("billing-svc/src/store", STORE),
    ("console-svc/src/ops", OPS),
    ("billing-svc/src/ops", OPS),
    ("console-svc/src/worker", &["crate::grpc"]),
    ("billing-svc/src/worker", &["crate::grpc"]),
    ("console-svc/src/grpc", GRPC),
    ("billing-svc/src/grpc", GRPC),
    ("console-svc/src", &["tandem_billing", "tandem_gateway", "tandem_adapters"]),
    ("billing-svc/src", &["tandem_console", "tandem_gateway", "tandem_adapters"]),
    ("marketplace-adapters/src", ADAPTERS),
    ("marketplace-adapters/gateway/src", &["tandem_console", "tandem_billing", "sea_orm", "sqlx"]),
    ("service-kit/src", KIT),
    ("proto/src", &["sea_orm", "sqlx", "tokio", "tandem_service_kit", "Timestamp::now"]),
];

/// Rules are pure: no database, no clock, no network, nothing of the layers above.
const DOMAIN: &[&str] = &[
    "sea_orm",
    "sqlx",
    "tonic",
    "prost",
    "tokio",
    "async fn",
    "tandem_service_kit",
    "tandem_proto::common",
    "tandem_proto::console",
    "tandem_proto::billing",
    "tandem_proto::marketplace",
    "Timestamp::now",
    "SystemTime",
    "crate::store",
    "crate::ops",
    "crate::grpc",
    "crate::worker",
    "crate::config",
];
const STORE: &[&str] = &["tonic", "crate::ops", "crate::grpc", "crate::worker"];
const OPS: &[&str] = &["crate::grpc", "crate::worker"];
const GRPC: &[&str] = &["sea_orm", "sqlx", "crate::worker"];
/// Translation only: no database, no gRPC, no clock of its own.
const ADAPTERS: &[&str] = &[
    "sea_orm",
    "sqlx",
    "tonic",
    "prost",
    "tandem_service_kit",
    "tandem_console",
    "tandem_billing",
    "tandem_proto::common",
    "tandem_proto::billing",
    "tandem_proto::marketplace",
    "Timestamp::now",
    "SystemTime",
];
/// The kit knows nothing of billing.
const KIT: &[&str] = &[
    "tandem_console",
    "tandem_billing",
    "tandem_gateway",
    "tandem_adapters",
    "tandem_proto::console",
    "tandem_proto::billing",
    "tandem_proto::marketplace",
    "orkspace",
    "ubscription",
    "ledger",
    "Ledger",
    "wallet",
    "Wallet",
    "vendor",
    "Vendor",
    "invoice",
];

/// Manifests, and dependencies that they may not have.
const MANIFESTS: &[(&str, &[&str])] = &[
    ("proto", &["tandem-service-kit", "sea-orm", "sqlx", "tokio"]),
    ("service-kit", &["tandem-console", "tandem-billing", "tandem-adapters", "tandem-gateway"]),
    ("console-svc", &["tandem-billing", "tandem-adapters", "tandem-gateway"]),
    ("billing-svc", &["tandem-console", "tandem-adapters", "tandem-gateway"]),
    (
        "marketplace-adapters",
        &["tandem-service-kit", "tandem-billing", "tandem-console", "sea-orm", "sqlx", "tonic"],
    ),
    ("marketplace-adapters/gateway", &["tandem-billing", "tandem-console", "sea-orm", "sqlx"]),
    ("deploy/tandem", &[]),
];

/// Where clouds may be named in code: their folders, the list of them, the registry and the conversions; the settlement
/// methods, which the contract names after them; and the examples in the command line's help.
const CLOUDS_NAMED_IN: &[&str] = &[
    "marketplace-adapters/src/alibaba/",
    "marketplace-adapters/src/lib.rs",
    "proto/src/vendor.rs",
    "proto/src/settlement.rs",
    "/convert.rs",
    "console-svc/src/domain/workspace.rs",
    "deploy/tandem/src/cli.rs",
    "deploy/tandem/src/commands/callback.rs",
];
const CLOUDS: [&str; 4] = ["alibaba", "huawei", "azure", "aws"];
/// The crates whose code is looked through for clouds' names.
const PRODUCTION: [&str; 7] = [
    "proto/src",
    "service-kit/src",
    "console-svc/src",
    "billing-svc/src",
    "marketplace-adapters/src",
    "marketplace-adapters/gateway/src",
    "deploy/tandem/src",
];

fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    Ok(root.to_owned())
}

/// The Rust files of a folder, its tests aside, with their text without comments and unit tests.
fn sources(folder: &str) -> anyhow::Result<Vec<(String, String)>> {
    let root = root()?;
    let (mut files, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.strip_prefix(&root)?.display().to_string();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is_test = stem.ends_with("tests") || stem == "testing";
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                files.push((name, code_of(&std::fs::read_to_string(&path)?)));
            }
        }
    }
    Ok(files)
}

fn code_of(text: &str) -> String {
    // Unit tests stand at the bottom of their module.
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.windows(2).position(|two| two[0] == "#[cfg(test)]" && two[1].starts_with("mod tests"));
    let code = lines.iter().take(end.unwrap_or(lines.len()));
    code.map(|line| if line.trim_start().starts_with("//") { "" } else { *line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn layers_import_only_what_is_below_them() -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (folder, forbidden) in TABLE {
        let files = sources(folder)?;
        ensure!(!files.is_empty(), "{folder} has no files, so this proves nothing");
        for (name, code) in files {
            for word in forbidden.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{name} holds `{word}`"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn crates_depend_only_on_what_is_below_them() -> anyhow::Result<()> {
    for (folder, forbidden) in MANIFESTS {
        let path = root()?.join(folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let depends_on = |name: &str| {
            text.lines().any(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '.', '=']))
        };
        for name in forbidden.iter().chain(&["tandem-tests", "tandem-benches"]) {
            ensure!(!depends_on(name), "{folder} must not depend on {name}");
        }
    }
    Ok(())
}

#[test]
fn clouds_are_named_only_where_they_are_translated() -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for folder in PRODUCTION {
        let files = sources(folder)?;
        ensure!(!files.is_empty(), "{folder} has no files, so this proves nothing");
        for (name, code) in files {
            if CLOUDS_NAMED_IN.iter().any(|allowed| name.contains(allowed)) {
                continue;
            }
            for (number, line) in code.lines().enumerate() {
                let lower = line.to_lowercase();
                let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).collect();
                for cloud in CLOUDS {
                    // "aws" is part of many words, the others are not.
                    let named = if cloud == "aws" { words.contains(&cloud) } else { lower.contains(cloud) };
                    if named {
                        wrong.push(format!("{name}:{} names {cloud}: {}", number + 1, line.trim()));
                    }
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
