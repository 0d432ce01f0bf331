//! Compiles the schema with protox, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=schema");
    #[cfg(feature = "grpc")]
    grpc::generate()?;
    Ok(())
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};

    use prost::Message as _;
    use prost_reflect::{DescriptorPool, Value};

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    const PACKAGES: [&str; 4] = ["common", "console", "billing", "marketplace"];

    pub(super) fn generate() -> Result<()> {
        let out = PathBuf::from(std::env::var("OUT_DIR")?);
        let root = Path::new("schema");
        let mut all = Vec::new();
        for package in PACKAGES {
            let files = schema_files(&root.join("tandem").join(package).join("v1"))?;
            let set = protox::compile(&files, [root])?;
            std::fs::write(out.join(format!("{package}.bin")), set.encode_to_vec())?;
            all.extend(files);
        }
        let mut compiler = protox::Compiler::new([root])?;
        compiler.include_imports(true).include_source_info(true);
        compiler.open_files(&all)?;
        // Encoded by protox itself: re-encoding through plain descriptor types would drop our method options.
        let encoded = compiler.encode_file_descriptor_set();
        std::fs::write(out.join("access.rs"), access_table(&DescriptorPool::decode(encoded.as_slice())?)?)?;
        let set = compiler.file_descriptor_set();
        // The snapshot holds the contract, not its comments.
        let mut bare = set.clone();
        bare.file.iter_mut().for_each(|file| file.source_code_info = None);
        std::fs::write(out.join("all.bin"), bare.encode_to_vec())?;
        tonic_prost_build::configure().bytes(".tandem").btree_map(".tandem").compile_fds(set)?;
        Ok(())
    }

    fn schema_files(folder: &Path) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "proto") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Writes each method's path, its roles and whether it changes anything, as Rust.
    fn access_table(pool: &DescriptorPool) -> Result<String> {
        let option =
            pool.get_extension_by_name("tandem.common.v1.access").ok_or("the access option is missing")?;
        let roles = pool.get_enum_by_name("tandem.common.v1.Role").ok_or("the Role enum is missing")?;
        let mut text = String::from("&[\n");
        for service in pool.services() {
            for method in service.methods() {
                let options = method.options();
                let mut names = Vec::new();
                if let Value::Message(access) = options.get_extension(&option).as_ref()
                    && let Some(list) = access.get_field_by_name("roles")
                    && let Some(list) = list.as_list()
                {
                    for role in list {
                        let number = role.as_enum_number().ok_or("a role is no enum value")?;
                        let value = roles.get_value(number).ok_or("a role is unknown")?;
                        names.push(format!("Role::{}", pascal(value.name().trim_start_matches("ROLE_"))));
                    }
                }
                // google.protobuf.MethodOptions.idempotency_level = NO_SIDE_EFFECTS (1).
                let level = options.get_field_by_name("idempotency_level").and_then(|v| v.as_enum_number());
                writeln!(
                    text,
                    "    MethodAccess {{ path: \"/{}/{}\", roles: &[{}], changes: {} }},",
                    service.full_name(),
                    method.name(),
                    names.join(", "),
                    level != Some(1),
                )?;
            }
        }
        text.push_str("]\n");
        Ok(text)
    }

    fn pascal(screaming: &str) -> String {
        let words = screaming.split('_').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_owned() + &rest.to_lowercase()
        });
        words.collect()
    }
}
