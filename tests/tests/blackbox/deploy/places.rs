//! Ports, paths, users and times agree between the files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use florin_tests::server::project;
use serde_json::Value;
use tempfile::TempDir;

use super::{must_succeed, path, text, yaml};

/// How long a stop may take before it is cut; `DRAIN_PATIENCE` of `florin serve`.
const DRAIN_SECONDS: u64 = 30;
/// How long a ledger that failed lets its callers hear of it.
const FAREWELL_SECONDS: u64 = 2;

/// The one value after `prefix` in a text, up to white space or a quote.
fn after<'a>(text: &'a str, prefix: &str) -> &'a str {
    let found: BTreeSet<&str> = text
        .match_indices(prefix)
        .map(|(at, _)| text[at + prefix.len()..].split([' ', '\n', '"']).next().unwrap_or_default())
        .collect();
    assert_eq!(found.len(), 1, "{prefix} says {found:?}");
    found.into_iter().next().expect("there is one")
}

fn seconds(text: &str) -> u64 {
    let digits = text.trim_end_matches('s');
    digits.parse().unwrap_or_else(|_| panic!("{text} is no number of seconds"))
}

/// The services of the compose file that run florin.
fn servers(compose: &Value) -> Vec<(&String, &Value)> {
    let services = compose["services"].as_object().expect("there are services").iter();
    let ours = |(_, service): &(&String, &Value)| {
        service["image"].as_str().is_some_and(|image| image.starts_with("florin:"))
    };
    services.filter(ours).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn one_port_everywhere() {
    let dockerfile = text("Dockerfile");
    let compose = yaml("compose.yaml");
    let listen = after(&dockerfile, "FLORIN_LISTEN=");
    let port = listen.rsplit(':').next().expect("it ends in a port");
    assert_eq!(after(&dockerfile, "EXPOSE "), port);
    let mut published = BTreeSet::new();
    let servers = servers(&compose);
    assert_eq!(servers.len(), 3, "a writer and two readers");
    for (name, service) in servers {
        assert_eq!(service["environment"]["FLORIN_LISTEN"], listen, "{name}");
        let ports = texts(&service["ports"]);
        assert_eq!(ports.len(), 1, "{name}");
        // Nothing but this machine gets in by itself.
        let outside = ports[0].strip_prefix("127.0.0.1:").expect("on the loopback interface");
        let (outside, inside) = outside.split_once(':').expect("two ports");
        assert_eq!(inside, port, "{name}");
        assert!(published.insert(format!("127.0.0.1:{outside}")), "{name} shares a port");
        if service["environment"]["FLORIN_ROLE"] == "read" {
            assert_eq!(
                service["environment"]["FLORIN_WRITER_URL"],
                format!("http://writer:{port}")
            );
        }
    }
    let scrape = yaml("prometheus/scrape.yaml");
    let targets = texts(&scrape["scrape_configs"][0]["static_configs"][0]["targets"]);
    assert_eq!(targets.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), published);
    for service in ["postgres", "redis"] {
        assert_eq!(compose["services"][service]["ports"], Value::Null, "{service} stays inside");
    }
}

#[test]
fn one_data_directory_everywhere() {
    let dockerfile = text("Dockerfile");
    let compose = yaml("compose.yaml");
    let unit = text("florin.service");
    let data_dir = after(&dockerfile, "FLORIN_DATA_DIR=");
    assert!(dockerfile.contains(&format!("/out/data {data_dir}\n")), "the image has it");
    let writer = &compose["services"]["writer"];
    assert_eq!(writer["environment"]["FLORIN_DATA_DIR"], data_dir);
    assert!(texts(&writer["volumes"]).contains(&&*format!("ledger:{data_dir}")));
    assert_eq!(after(&unit, "Environment=FLORIN_DATA_DIR="), data_dir);
    assert_eq!(format!("/var/lib/{}", after(&unit, "StateDirectory=")), data_dir);
    assert!(text("florin.sysusers.conf").contains(data_dir));
    assert!(text("florin.sysusers.conf").contains(&format!("u {} ", after(&unit, "User="))));
    // The program has one place in the image and one on a machine.
    assert!(dockerfile.contains("/out/florin /usr/local/bin/florin\n"));
    assert!(after(&unit, "ExecStart=").starts_with("/usr/local/bin/florin"));
}

#[test]
fn a_stop_has_the_time_that_it_may_take() {
    let compose = yaml("compose.yaml");
    for (name, service) in servers(&compose) {
        let grace = seconds(service["stop_grace_period"].as_str().expect("it has one"));
        assert!(grace > DRAIN_SECONDS + FAREWELL_SECONDS, "{name}: {grace}");
    }
    let unit = text("florin.service");
    assert!(seconds(after(&unit, "TimeoutStopSec=")) > DRAIN_SECONDS + FAREWELL_SECONDS);
    let source = fs::read_to_string(project().join("api/src/command/serve.rs"));
    let source = source.unwrap_or_else(|error| panic!("{error}"));
    for (name, seconds) in
        [("DRAIN_PATIENCE", DRAIN_SECONDS), ("FAREWELL_PATIENCE", FAREWELL_SECONDS)]
    {
        let line = format!("const {name}: Duration = Duration::from_secs({seconds});");
        assert!(source.contains(&line), "{line} has changed: so must the times of deploy/");
    }
}

#[test]
fn containers_can_do_little() {
    let dockerfile = text("Dockerfile");
    let compose = yaml("compose.yaml");
    let user = after(&dockerfile, "USER ");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    assert!(dockerfile.contains(&format!("--chown={user} ")), "the data directory is its own");
    assert!(dockerfile.contains("CMD [\"/usr/local/bin/florin\", \"health\"]"));
    // Images are pinned, so that what was tried is what runs.
    for line in dockerfile.lines().filter(|line| line.starts_with("FROM ")) {
        assert!(line.contains("@sha256:"), "{line}");
    }
    for (name, service) in compose["services"].as_object().expect("there are services") {
        let image = service["image"].as_str().expect("it has an image");
        let ours = format!("florin:{}", env!("CARGO_PKG_VERSION"));
        assert!(image.contains("@sha256:") || image == ours, "{name}: {image}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        for limit in ["cpus", "memory", "pids"] {
            let limits = &service["deploy"]["resources"]["limits"];
            assert_ne!(limits[limit], Value::Null, "{name} has no limit of {limit}");
        }
    }
    for (name, service) in servers(&compose) {
        assert_eq!(service["read_only"], true, "{name}");
    }
}

#[test]
fn the_build_is_given_what_it_reads() {
    let ignore = fs::read_to_string(project().join(".dockerignore"));
    let ignore = ignore.unwrap_or_else(|error| panic!("{error}"));
    let manifest = fs::read_to_string(project().join("Cargo.toml"));
    let manifest = manifest.unwrap_or_else(|error| panic!("{error}"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = "));
    let members: Vec<String> =
        serde_json::from_str(members.expect("it has members")).expect("a list in one line");
    for member in members.iter().map(String::as_str).chain(["Cargo.toml", "Cargo.lock", "LICENSE"])
    {
        let folder = member.split('/').next().unwrap_or(member);
        assert!(ignore.lines().any(|line| line == format!("!{folder}")), "{member} is left out");
    }
    assert!(manifest.contains("[profile.dist]") && text("build").contains("--profile dist"));
    let script = ignore.lines().any(|line| line == "!deploy/build");
    assert!(script && text("Dockerfile").contains("deploy/build"), "it is not built as shipped");
}

/// Runs a copy of secrets.sh, so that the project stays as it is.
fn make_secrets(room: &Path) {
    let script = room.join("secrets.sh");
    fs::copy(path("secrets.sh"), &script).expect("it can be copied");
    must_succeed(Command::new(script));
}

#[test]
fn every_secret_is_made_once_and_only_for_us() {
    let room = TempDir::with_prefix("florin-secrets-").expect("a temporary directory");
    make_secrets(room.path());
    let compose = yaml("compose.yaml");
    let mode = |path: &Path| {
        let metadata =
            path.metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        metadata.permissions().mode() & 0o777
    };
    let read = || -> Vec<String> {
        let secrets = compose["secrets"].as_object().expect("there are secrets").values();
        let files = secrets.map(|secret| secret["file"].as_str().expect("it is a file"));
        let files = files.map(|file| room.path().join(file.trim_start_matches("./")));
        // Every container's user can read it; who can not enter the directory can not.
        files
            .map(|file| {
                assert_eq!(mode(&file), 0o444, "{}", file.display());
                fs::read_to_string(file).expect("it is text")
            })
            .collect()
    };
    let first = read();
    assert_eq!(first.len(), 5);
    assert_eq!(mode(&room.path().join("secrets")), 0o700);
    assert_eq!(mode(&room.path().join("secrets/keys")), 0o755);
    assert!(first.iter().all(|secret| !secret.is_empty()), "none is empty");
    // Services get only secrets that there are.
    for (name, service) in compose["services"].as_object().expect("there are services") {
        for secret in texts(&service["secrets"]) {
            assert_ne!(compose["secrets"][secret], Value::Null, "{name} is given {secret}");
        }
    }
    make_secrets(room.path());
    assert_eq!(read(), first, "a second run keeps what there is");
}
