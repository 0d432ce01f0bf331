//! Well-formed messages of any type with arbitrary content, made from the schema: mostly nonsense, sometimes nearly right.

use std::collections::BTreeMap;

use anyhow::Context as _;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tandem_proto::descriptor;

use crate::dice::Dice;

/// How deep messages are nested at most.
const DEPTH_MAX: u32 = 4;

/// Makes messages; the same seed makes the same ones.
pub struct Messages {
    types: BTreeMap<String, DescriptorProto>,
    /// The request's type by the method's path.
    requests: BTreeMap<String, String>,
    /// Ids that exist, so that some requests get further.
    ids: Vec<String>,
    dice: Dice,
}

impl Messages {
    /// Reads the schema.
    pub fn new(seed: u64, ids: Vec<String>) -> anyhow::Result<Messages> {
        let set = FileDescriptorSet::decode(descriptor::ALL)?;
        let (mut types, mut requests) = (BTreeMap::new(), BTreeMap::new());
        for file in &set.file {
            for message in &file.message_type {
                add(&mut types, &format!(".{}", file.package()), message);
            }
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    requests.insert(path, method.input_type().to_owned());
                }
            }
        }
        Ok(Messages { types, requests, ids, dice: Dice::new(seed) })
    }

    /// A request of a method.
    pub fn request(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        let name = self.requests.get(path).with_context(|| format!("{path} is not in the schema"))?.clone();
        self.message(&name, 0)
    }

    fn message(&mut self, name: &str, depth: u32) -> anyhow::Result<Vec<u8>> {
        let of_type = self.types.get(name).with_context(|| format!("{name} is not in the schema"))?.clone();
        let mut bytes = Vec::new();
        for field in &of_type.field {
            // Mostly present, because checks that come late are worth reaching.
            if self.dice.below(8) == 0 && field.name() != "request_id" {
                continue;
            }
            let count = if field.label() == Label::Repeated { self.dice.below(4) } else { 1 };
            for _ in 0..count {
                self.field(field, depth, &mut bytes)?;
            }
        }
        Ok(bytes)
    }

    fn field(&mut self, field: &FieldDescriptorProto, depth: u32, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
        let number = u32::try_from(field.number())?;
        match field.r#type() {
            Type::String | Type::Bytes => {
                let text = self.text(field.name());
                encode_key(number, WireType::LengthDelimited, bytes);
                encode_varint(u64::try_from(text.len())?, bytes);
                bytes.extend_from_slice(text.as_bytes());
            }
            Type::Message => {
                if depth >= DEPTH_MAX {
                    return Ok(());
                }
                let inner = self.message(field.type_name(), depth + 1)?;
                encode_key(number, WireType::LengthDelimited, bytes);
                encode_varint(u64::try_from(inner.len())?, bytes);
                bytes.extend_from_slice(&inner);
            }
            kind => {
                let value = match kind {
                    Type::Bool => i64::try_from(self.dice.below(2))?,
                    Type::Enum => self.dice.pick(&[0, 1, 2, 3, 1, 2, 99, -1]),
                    Type::Int32 => {
                        self.dice.pick(&[0, 1, 3, 7, 14, 500, -1, i64::from(i32::MAX), i64::from(i32::MIN)])
                    }
                    _ => {
                        self.dice.pick(&[0, 1, 1_772_337_600, 5_000, -1, i64::MAX, i64::MIN, 253_402_300_800])
                    }
                };
                encode_key(number, WireType::Varint, bytes);
                encode_varint(value.cast_unsigned(), bytes);
            }
        }
        Ok(())
    }

    fn text(&mut self, name: &str) -> String {
        let long = "x".repeat(300);
        let nasty = ["", "garbage", "' OR 1=1 --", "\u{0}", "名字 \u{202e}", "{}", long.as_str()];
        let good: Vec<String> = match name {
            "request_id" => return format!("fuzz.{}", self.dice.throw()),
            "site" => vec!["cn1".into(), "us1".into()],
            "email" => vec![format!("fuzz{}@example.com", self.dice.throw())],
            "username" | "login_name" => vec![format!("fuzz{}", self.dice.throw() % 10_000)],
            "password" | "new_password" => vec!["Correct-Horse-7".into()],
            "time_zone" => vec!["Asia/Shanghai".into(), "Mars/Olympus".into()],
            "currency_code" => vec!["CNY".into(), "USD".into(), "XXX".into()],
            "usage_day" | "start_day" | "end_day" => {
                vec!["2026-02-28".into(), "2026-02-30".into(), "9999-12-31".into(), "-0001-01-01".into()]
            }
            "email_code" | "code" => vec!["123456".into()],
            "phone" => vec!["+8613800000000".into()],
            "vendor_account_id" => vec!["1744000000000001".into(), "1".into()],
            "vendor_instance_id" => vec!["1551000001".into()],
            name if name.ends_with("_id") || name == "landing_ticket" => {
                let mut ids = self.ids.clone();
                let zeros = "0".repeat(32);
                ids.extend(
                    ["wks", "bac", "cac", "sub", "bil", "mtr"].map(|prefix| format!("{prefix}_{zeros}")),
                );
                ids
            }
            _ => vec!["a".into(), "zh".into(), "1".into()],
        };
        // Good ones twice as often.
        if self.dice.below(3) == 0 { self.dice.pick(&nasty).to_owned() } else { self.dice.pick(&good) }
    }
}

fn add(types: &mut BTreeMap<String, DescriptorProto>, prefix: &str, message: &DescriptorProto) {
    let name = format!("{prefix}.{}", message.name());
    for nested in &message.nested_type {
        add(types, &name, nested);
    }
    types.insert(name, message.clone());
}
