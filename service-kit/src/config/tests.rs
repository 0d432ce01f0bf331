use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    database: Database,
    name: String,
    #[serde(default)]
    rate: Option<i64>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    key: Option<SecretRef>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    url: String,
    connections: u32,
}

const DEFAULTS: &str = "name = 'x'\n[database]\nurl = 'sqlite:a'\nconnections = 4\n";

fn settings(file: Option<&str>, vars: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_from(DEFAULTS, file.map(|text| ("my.toml".to_owned(), text)), "TANDEM_TEST", vars)
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let read = settings(
        Some("name = 'file'\n[database]\nconnections = 5\n"),
        &[("TANDEM_TEST__DATABASE__URL", "postgres://h/d"), ("TANDEM_TEST__NAME", "7"), ("OTHER__NAME", "z")],
    )
    .unwrap();
    assert_eq!(read.database.url, "postgres://h/d");
    assert_eq!(read.database.connections, 5);
    assert_eq!(read.name, "7");
}

#[test]
fn a_variable_takes_the_kind_its_key_wants() {
    let read = settings(
        None,
        &[
            ("TANDEM_TEST__DATABASE__CONNECTIONS", "9"),
            ("TANDEM_TEST__RATE", "12"),
            ("TANDEM_TEST__LABEL", "12"),
            ("TANDEM_TEST__KEY", "{ env = 'A' }"),
        ],
    )
    .unwrap();
    assert_eq!((read.database.connections, read.rate, read.label.as_deref()), (9, Some(12), Some("12")));
    assert_eq!(read.key, Some(SecretRef::Env("A".to_owned())));
    let read = settings(Some("key = { env = 'A' }"), &[("TANDEM_TEST__KEY__FILE", "/run/key")]).unwrap();
    assert_eq!(read.key, Some(SecretRef::File("/run/key".into())));
}

#[test]
fn an_unknown_key_is_refused_and_named_with_its_source() {
    let error = settings(Some("[database]\nurk = 1\n"), &[]).unwrap_err().to_string();
    assert!(error.contains("my.toml") && error.contains("urk"), "{error}");
    let error = settings(None, &[("TANDEM_TEST__DATABASE__URK", "1")]).unwrap_err().to_string();
    assert!(error.contains("TANDEM_TEST__DATABASE__URK") && error.contains("urk"), "{error}");
    let error = settings(None, &[("TANDEM_TEST__DATABASE__CONNECTIONS", "many")]).unwrap_err().to_string();
    assert!(error.contains("TANDEM_TEST__DATABASE__CONNECTIONS"), "{error}");
    let error = settings(Some("name = "), &[]).unwrap_err().to_string();
    assert!(error.contains("my.toml") && error.contains("TOML"), "{error}");
    assert!(settings(None, &[("TANDEM_TEST____X", "1")]).is_err());
}

#[test]
fn a_missing_file_and_an_inline_secret_are_refused() {
    let error = load::<Settings>(DEFAULTS, Some(Path::new("/nowhere/x.toml")), "TANDEM_TEST").unwrap_err();
    assert!(error.to_string().contains("/nowhere/x.toml"));
    let error = settings(Some("key = 'hunter2hunter2hunter2hunter2'"), &[]).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn sample_secrets_are_refused_and_never_shown() {
    for bad in ["", "short", &"a".repeat(40), "changeme-changeme-changeme", "this-is-an-example-secret-value"]
    {
        assert!(check_secret(bad).is_err(), "{bad}");
    }
    assert!(check_secret("secret-secret-secret-secret").is_err());
    assert!(check_secret("Zk3v9QmTr7LxWc2Nf8Yb5Hd1").is_ok());
    let error = SecretRef::Env("TANDEM_NO_SUCH_VARIABLE".to_owned()).resolve().unwrap_err().to_string();
    assert!(error.contains("TANDEM_NO_SUCH_VARIABLE"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "  Zk3v9QmTr7LxWc2Nf8Yb5Hd1\n").unwrap();
    assert_eq!(SecretRef::File(path).resolve().unwrap().expose_secret(), "Zk3v9QmTr7LxWc2Nf8Yb5Hd1");
}
