//! The contract as it is written down: every change of it shows up in a stored listing, and every method keeps the rules
//! that all of them share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tandem_proto::access::{self, METHODS};
use tandem_proto::descriptor;
use tandem_proto::reason::Reason;
use tandem_service_kit::identity::role_name;

fn schema() -> anyhow::Result<FileDescriptorSet> {
    let mut set = FileDescriptorSet::decode(descriptor::ALL)?;
    set.file.retain(|file| file.package().starts_with("tandem."));
    ensure!(!set.file.is_empty(), "the schema is empty");
    Ok(set)
}

/// Every message by its full name, nested ones included.
fn messages(set: &FileDescriptorSet) -> BTreeMap<String, DescriptorProto> {
    fn add(all: &mut BTreeMap<String, DescriptorProto>, prefix: &str, messages: &[DescriptorProto]) {
        for message in messages {
            let name = format!("{prefix}.{}", message.name());
            add(all, &name, &message.nested_type);
            all.insert(name, message.clone());
        }
    }
    let mut all = BTreeMap::new();
    for file in &set.file {
        add(&mut all, &format!(".{}", file.package()), &file.message_type);
    }
    all
}

fn type_name(field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let repeated = field.label() == Label::Repeated;
    let optional = field.proto3_optional();
    format!("{}{}{name}", if repeated { "repeated " } else { "" }, if optional { "optional " } else { "" })
}

fn listing(set: &FileDescriptorSet) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let access = access::of(&path).with_context(|| format!("{path} has no access entry"))?;
                let mut roles: Vec<String> = access.roles.iter().map(|role| role_name(*role)).collect();
                roles.sort();
                let stream = |streams: bool| if streams { "stream " } else { "" };
                lines.push(format!(
                    "method {path} ({}{}) -> ({}{}) {} [{}]",
                    stream(method.client_streaming()),
                    method.input_type().trim_start_matches('.'),
                    stream(method.server_streaming()),
                    method.output_type().trim_start_matches('.'),
                    if access.changes { "changes" } else { "reads" },
                    roles.join(", "),
                ));
            }
        }
        for top in &file.enum_type {
            for value in &top.value {
                lines.push(format!(
                    "enum {}.{} = {:>3} {}",
                    file.package(),
                    top.name(),
                    value.number(),
                    value.name()
                ));
            }
        }
    }
    for (name, message) in messages(set) {
        let name = name.trim_start_matches('.');
        if message.field.is_empty() {
            lines.push(format!("message {name} is empty"));
        }
        for field in &message.field {
            let of = field.oneof_index.filter(|_| !field.proto3_optional());
            let oneof = of.and_then(|at| message.oneof_decl.get(usize::try_from(at).ok()?));
            let oneof = oneof.map(|oneof| format!(" in {}", oneof.name())).unwrap_or_default();
            lines.push(format!(
                "message {name} = {:>3} {}: {}{oneof}",
                field.number(),
                field.name(),
                type_name(field)
            ));
        }
        for range in &message.reserved_range {
            lines.push(format!("message {name} reserves {}..{}", range.start(), range.end()));
        }
    }
    lines.sort();
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

/// Compares with a stored text; `UPDATE_CONTRACT=1` stores it anew.
fn compare(name: &str, text: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/snapshots").join(name);
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        return Ok(std::fs::write(&path, text)?);
    }
    let stored = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let gone: Vec<&str> = stored.lines().filter(|line| !text.lines().any(|new| new == *line)).collect();
    let new: Vec<&str> = text.lines().filter(|line| !stored.lines().any(|old| old == *line)).collect();
    ensure!(
        stored == text,
        "the contract changed; if that is meant, run this test with UPDATE_CONTRACT=1 and commit {name}\n\
         gone:\n  {}\nnew:\n  {}",
        gone.join("\n  "),
        new.join("\n  ")
    );
    Ok(())
}

#[test]
fn the_contract_is_as_stored() -> anyhow::Result<()> {
    compare("contract.txt", &listing(&schema()?)?)
}

#[test]
fn the_reasons_are_as_stored() -> anyhow::Result<()> {
    let mut lines: Vec<String> = Reason::ALL
        .iter()
        .map(|reason| {
            format!("{} {:?} {:?}: {}\n", reason.name(), reason.code(), reason.retry(), reason.meaning())
        })
        .collect();
    lines.sort();
    compare("reasons.txt", &lines.concat())
}

/// The request of each method, by the method's path.
fn requests(set: &FileDescriptorSet) -> anyhow::Result<BTreeMap<String, (DescriptorProto, DescriptorProto)>> {
    let messages = messages(set);
    let find =
        |name: &str| messages.get(name).cloned().with_context(|| format!("{name} is not in the schema"));
    let mut requests = BTreeMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                requests.insert(path, (find(method.input_type())?, find(method.output_type())?));
            }
        }
    }
    Ok(requests)
}

fn has(message: &DescriptorProto, name: &str, kind: Type) -> bool {
    message.field.iter().any(|field| field.name() == name && field.r#type() == kind)
}

#[test]
fn every_changing_method_takes_a_request_id() -> anyhow::Result<()> {
    let requests = requests(&schema()?)?;
    ensure!(requests.len() == METHODS.len(), "the access table and the schema differ");
    for method in METHODS {
        let (request, _) = requests.get(method.path).with_context(|| method.path.to_owned())?;
        let takes = has(request, "request_id", Type::String);
        ensure!(
            takes == method.changes,
            "{}: changes is {}, request_id is {takes}",
            method.path,
            method.changes
        );
        ensure!(!method.roles.is_empty(), "{} may be called by nobody", method.path);
    }
    Ok(())
}

#[test]
fn every_list_is_paged() -> anyhow::Result<()> {
    let mut lists = 0;
    for (path, (request, response)) in requests(&schema()?)? {
        let name = path.rsplit('/').next().unwrap_or_default();
        if !name.starts_with("List") {
            continue;
        }
        lists += 1;
        ensure!(has(&request, "page_size", Type::Int32), "{path} has no page_size");
        ensure!(has(&request, "page_token", Type::String), "{path} has no page_token");
        ensure!(has(&response, "next_page_token", Type::String), "{path} has no next_page_token");
    }
    ensure!(lists > 10, "only {lists} lists: this proves nothing");
    Ok(())
}

#[test]
fn nothing_in_the_contract_is_a_float() -> anyhow::Result<()> {
    for (name, message) in messages(&schema()?) {
        for field in &message.field {
            ensure!(
                !matches!(field.r#type(), Type::Double | Type::Float),
                "{name}.{} is a float",
                field.name()
            );
        }
    }
    Ok(())
}
