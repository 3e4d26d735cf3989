use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, FromArgMatches};

use super::*;

/// A directory that goes when the test ends.
struct Room(PathBuf);

impl Room {
    fn new() -> Room {
        let path = std::env::temp_dir().join(format!("florin-config-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).unwrap();
        Room(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn flags(line: &str) -> Flags {
    let command = Flags::augment_args(clap::Command::new("florin"));
    let words = std::iter::once("florin").chain(line.split_whitespace());
    Flags::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
}

fn resolve(line: &str, variables: &[(&str, &str)]) -> Result<Resolved, ConfigError> {
    let variables: BTreeMap<String, OsString> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    let environment = |name: &str| variables.get(name).cloned();
    Config::resolve(&Layers::open(&flags(line), &environment)?)
}

/// What `key` is, and who said so; or the complaint.
fn check(line: &str, variables: &[(&str, &str)], key: &str, expected: &str) {
    let shown = match resolve(line, variables) {
        Ok(resolved) => {
            let row = resolved.rows.into_iter().find(|row| row.key == key).unwrap();
            format!("{} from {}", row.value, row.origin)
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected, "florin {line} with {variables:?}");
}

#[test]
fn a_flag_is_stronger_than_a_variable_than_the_file_than_the_default() {
    let room = Room::new();
    let file = room.file("florin.toml", "listen = \"127.0.0.1:3\"\n");
    let with_file = format!("--config {file}");
    let with_flag = format!("--config {file} --listen 127.0.0.1:1");
    let variable = [("FLORIN_LISTEN", "127.0.0.1:2")];
    check(&with_flag, &variable, "listen", "127.0.0.1:1 from flag --listen");
    check(&with_file, &variable, "listen", "127.0.0.1:2 from variable FLORIN_LISTEN");
    check(&with_file, &[], "listen", &format!("127.0.0.1:3 from file {file}, key listen"));
    check(
        "",
        &[("FLORIN_CONFIG", &file)],
        "listen",
        &format!("127.0.0.1:3 from file {file}, key listen"),
    );
    check("", &[], "listen", "127.0.0.1:8080 from default");
    check("", &[("FLORIN_LISTEN", "")], "listen", "127.0.0.1:8080 from default");
}

#[test]
fn what_is_in_force_is_what_was_said() {
    let room = Room::new();
    let file = room.file(
        "florin.toml",
        "data_dir = '/srv/f'\nworkers = 3\naccept_clock = true\nbacklog_bytes = '1 GiB'\njournal_archive = '/srv/a'\n\
         api_keys = '/srv/k'\ntls_cert = '/srv/c'\nmetrics_access = 'open'\nrole = 'read'\ntake_over = true\n\
         writer_url = 'http://w:1'\nwriter_ca = '/srv/ca'\nredis_ca = '/srv/r'",
    );
    let resolved = resolve(
        &format!("--config {file} --durability memory --insecure-no-auth --events-in-flight 100"),
        &[
            ("FLORIN_LOG", "json"),
            ("FLORIN_LISTEN", "0.0.0.0:1"),
            ("FLORIN_TLS_KEY", "/srv/p"),
            ("DATABASE_URL", "postgres://db/f"),
            ("FLORIN_REDIS_URL", "redis://cache"),
            ("REDIS_URL", "redis://other"),
        ],
    );
    let config = resolved.unwrap().config;
    let expected = Config {
        listen: ListenAddress("0.0.0.0:1".parse().unwrap()),
        data_dir: PathBuf::from("/srv/f"),
        database_url: Some(Secret::from("postgres://db/f".to_owned())),
        redis_url: Some(Secret::from("redis://cache".to_owned())),
        redis_ca: Some(PathBuf::from("/srv/r")),
        take_over: TakeOver::Force,
        role: Role::Read,
        writer_url: Some(WriterUrl("http://w:1".parse().unwrap())),
        writer_ca: Some(PathBuf::from("/srv/ca")),
        durability: Durability::Memory,
        journal_archive: Archive(Some(PathBuf::from("/srv/a"))),
        log: LogFormat::Json,
        exposure: Exposure::AnyoneWhoReachesIt,
        api_keys: Some(PathBuf::from("/srv/k")),
        metrics_access: MetricsAccess::Open,
        tls: Some(TlsFiles { cert: PathBuf::from("/srv/c"), key: PathBuf::from("/srv/p") }),
        clock: ClockAcceptance::Accept,
        limits: Limits {
            events_in_flight: Count(100),
            bytes_in_flight: ByteSize(256 << 20),
            backlog_bytes: ByteSize(1 << 30),
            segment_bytes: ByteSize(64 << 20),
            workers: Workers::Exactly(3.try_into().unwrap()),
            body_bytes: ByteSize(256 << 10),
            batch_body_bytes: ByteSize(16 << 20),
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn roles_need_what_they_are_for() {
    check(
        "--role read",
        &[],
        "",
        "role read needs --database-url: it reads what the writer fills there",
    );
    let database = [("DATABASE_URL", "postgres://me:hush@db/f")];
    check("--role read", &database, "database_url", "(set) from variable DATABASE_URL");
    check("", &database, "role", "all from default");
    check(
        "--writer-url http://w:1",
        &database,
        "",
        "--writer-url is for --role read: a process that takes commands passes none on",
    );
    for url in ["w:1", "http://w:1/path", "ftp://w"] {
        let complaint = format!(
            "flag --writer-url: `{url}` must be a URL without a path, such as https://writer:8080"
        );
        check(&format!("--writer-url {url}"), &[], "", &complaint);
    }
}

#[test]
fn a_variable_can_name_a_file_that_holds_the_value() {
    let room = Room::new();
    let file = room.file("dir", "/srv/florin\n");
    let twin = [("FLORIN_DATA_DIR_FILE", file.as_str())];
    let origin = format!("/srv/florin from file {file} (variable FLORIN_DATA_DIR_FILE)");
    check("", &twin, "data_dir", &origin);
    check("--data-dir /a", &twin, "data_dir", "/a from flag --data-dir");
    check(
        "",
        &[("FLORIN_DATA_DIR_FILE", &file), ("FLORIN_DATA_DIR", "/b")],
        "data_dir",
        "FLORIN_DATA_DIR and FLORIN_DATA_DIR_FILE are both set; leave one of them out",
    );
    check(
        "",
        &[("FLORIN_LOG_FILE", "/nowhere/log")],
        "log",
        "cannot read the file /nowhere/log that FLORIN_LOG_FILE names",
    );
}

#[test]
fn a_file_of_secrets_that_is_taken_for_a_value_is_not_shown() {
    let room = Room::new();
    let file =
        room.file("key.pem", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n");
    check(
        "",
        &[("FLORIN_TLS_KEY_FILE", &file)],
        "",
        &format!(
            "the file {file} that FLORIN_TLS_KEY_FILE names has more than one line; it has to hold the value of FLORIN_TLS_KEY and nothing else"
        ),
    );
}

/// The key that a client verb shows, or the complaint.
fn client_key(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
    let environment = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let flags = Flags::of_one(&API_KEY, flag.map(str::to_owned), None);
    let layers = Layers::without_file(&flags, &environment);
    let row = layers.row(&API_KEY).map_err(|error| error.to_string())?;
    let token: Option<Token> = layers.read(&API_KEY).map_err(|error| error.to_string())?;
    assert_eq!(row.value, if token.is_some() { "(set)" } else { "none" });
    Ok(token.map(|token| token.reveal()))
}

#[test]
fn a_client_takes_its_key_from_flag_variable_or_file_and_never_shows_it() {
    let room = Room::new();
    let keys = room.0.join("keys.toml");
    let made = || {
        let (token, _) = crate::keys::add(&keys, None, crate::keys::Scope::Read).unwrap();
        token.reveal()
    };
    let (one, two) = (made(), made());
    let file = room.file("key", &format!("{two}\n"));
    assert_eq!(client_key(None, &[]), Ok(None));
    assert_eq!(client_key(Some(&one), &[("FLORIN_API_KEY", &two)]), Ok(Some(one.clone())));
    assert_eq!(client_key(None, &[("FLORIN_API_KEY", &one)]), Ok(Some(one.clone())));
    assert_eq!(client_key(None, &[("FLORIN_API_KEY_FILE", &file)]), Ok(Some(two.clone())));
    let both = client_key(None, &[("FLORIN_API_KEY", &one), ("FLORIN_API_KEY_FILE", &file)]);
    assert!(both.unwrap_err().contains("both set"));
    let mistyped = one.replace("flk_", "flk_a").chars().take(68).collect::<String>();
    for bad in [&mistyped, &one[..40]] {
        let complaint = client_key(Some(bad), &[]).unwrap_err();
        assert!(complaint.starts_with("flag --api-key: the value must be a key"), "{complaint}");
        assert!(!complaint.contains(&one[10..30]), "{complaint}");
    }
    assert_eq!(format!("{:?}", Secret::from(one)), "Secret(…)");
}

#[test]
fn keys_let_other_machines_in_and_tls_alone_does_not() {
    let listen = "--listen 0.0.0.0:80";
    assert!(resolve(&format!("{listen} --api-keys /srv/k"), &[]).is_ok());
    assert!(resolve(&format!("{listen} --tls-cert c --tls-key k"), &[]).is_err());
    assert!(resolve(&format!("{listen} --api-keys none"), &[]).is_err());
    for (given, missing) in [("cert", "key"), ("key", "cert")] {
        check(
            &format!("--tls-{given} x"),
            &[],
            "",
            &format!("--tls-{given} needs --tls-{missing}: TLS takes both, plain HTTP neither"),
        );
    }
}

#[test]
fn only_this_machine_is_let_in_unless_told_otherwise() {
    for listen in
        ["127.0.0.1:0", "127.8.8.8:80", "[::1]:80", "localhost:80", "[::ffff:127.0.0.1]:80"]
    {
        check(
            &format!("--listen {listen}"),
            &[],
            "listen",
            &format!("{listen} from flag --listen"),
        );
    }
    for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "192.168.1.5:0"] {
        let refusal = resolve(&format!("--listen {listen}"), &[]).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("refusing to listen on {listen}: ")), "{refusal}");
        assert!(refusal.contains("--insecure-no-auth"), "{refusal}");
        let allowed = format!("--listen {listen} --insecure-no-auth");
        check(&allowed, &[], "listen", &format!("{listen} from flag --listen"));
        let named = format!("--listen {listen}");
        assert!(resolve(&named, &[("FLORIN_INSECURE_NO_AUTH", "false")]).is_err());
        assert!(resolve(&named, &[("FLORIN_INSECURE_NO_AUTH", "true")]).is_ok());
    }
}

#[test]
fn a_bad_value_is_named_with_where_it_was_said() {
    check(
        "--listen 8080",
        &[],
        "",
        "flag --listen: `8080` must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080",
    );
    check(
        "",
        &[("FLORIN_DURABILITY", "fast")],
        "",
        "variable FLORIN_DURABILITY: `fast` must be fsync or memory",
    );
    check(
        "",
        &[("FLORIN_ACCEPT_CLOCK", "maybe")],
        "",
        "variable FLORIN_ACCEPT_CLOCK: `maybe` must be true or false",
    );
    check("--workers 0", &[], "", "flag --workers: `0` must be auto or a number from 1 to 1024");
    check(
        "--events-in-flight=-1",
        &[],
        "",
        "flag --events-in-flight: `-1` must be a whole number above 0",
    );
    check(
        "--body-bytes 1.5MiB",
        &[],
        "",
        "flag --body-bytes: `1.5MiB` must be a size above 0, such as 65536, 256KiB or 64GiB",
    );
    check("--segment-bytes 1KiB", &[], "", "segment_bytes is 1KiB; it must be from 64KiB to 1GiB");
}

#[test]
fn a_bad_file_is_named_with_the_key() {
    fn check(text: &str, expected: &str) {
        let room = Room::new();
        let file = room.file("florin.toml", text);
        let error = resolve(&format!("--config {file}"), &[]).unwrap_err().to_string();
        assert_eq!(error.replace(&file, "FILE"), expected);
    }
    check("lisen = 'x'", "FILE: unknown key `lisen`; `florin config` lists the known ones");
    check("[limits]\nx = 1", "FILE: unknown key `limits`; `florin config` lists the known ones");
    check("log = 'loud'", "file FILE, key log: `loud` must be text or json");
    check("workers = 1.5", "FILE: `workers` must be one text, whole number or true/false");
    check(
        "listen = 8080",
        "file FILE, key listen: `8080` must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080",
    );
    let error = resolve("--config /nowhere/f.toml", &[]).unwrap_err().to_string();
    assert_eq!(error, "cannot read the configuration file /nowhere/f.toml");
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    let room = Room::new();
    let file = room.file("florin.toml", "log = 'text'\nlisten 3\n");
    let error = resolve(&format!("--config {file}"), &[]).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{file}, line 2: ")), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn sizes_are_read_and_shown_in_the_largest_unit_that_fits() {
    use super::values::FromText;
    let shown = |text| ByteSize::from_text(text).map(|size| (size.0, size.to_string()));
    assert_eq!(shown("64 GiB"), Ok((64 << 30, "64GiB".into())));
    assert_eq!(shown("1_000"), Ok((1000, "1000".into())));
    assert_eq!(shown("2KB"), Ok((2000, "2000".into())));
    assert_eq!(shown("1536KiB"), Ok((1536 << 10, "1536KiB".into())));
    assert_eq!(shown("10B"), Ok((10, "10".into())));
    for text in ["", "0", "KiB", "-1", "18446744073709551615KiB", "1 PiB"] {
        assert!(ByteSize::from_text(text).is_err(), "{text}");
    }
}

#[test]
fn every_default_can_be_used_and_every_setting_is_listed_once() {
    let resolved = resolve("", &[]).unwrap();
    let keys: Vec<_> = resolved.rows.iter().map(|row| row.key.as_str()).collect();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), SETTINGS.len());
    assert!(resolved.rows.iter().all(|row| row.origin == "default"));
    assert_eq!(resolved.config.data_dir, Path::new("./florin-data"));
}
