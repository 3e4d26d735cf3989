//! What must be true of the project itself: which crate may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use florin_tests::server::project;
use serde_json::Value;

/// The dependencies of each of the project's crates, those of their own tests left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(project())
        .output()
        .unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {text}");
    let metadata: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let name = |thing: &Value| thing["name"].as_str().unwrap_or_default().to_owned();
    let needs = |package: &Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|needed| needed["kind"] != "dev").map(name).collect()
    };
    packages.iter().map(|package| (name(package), needs(package))).collect()
}

#[test]
fn crates_know_each_other_in_one_direction() {
    let dependencies = dependencies();
    let order = ["florin-engine", "florin-persistence", "florin-actors", "florin"];
    for (place, name) in order.iter().enumerate() {
        let needs = dependencies.get(*name).unwrap_or_else(|| panic!("there is no crate {name}"));
        for above in &order[place..] {
            assert!(!needs.contains(*above), "{name} must not know {above}");
        }
    }
    let wire = &dependencies["florin-wire"];
    for name in &order[1..] {
        assert!(!wire.contains(*name), "the binary form must not know {name}");
    }
    let client = &dependencies["florin-client"];
    for name in &order[1..] {
        assert!(!client.contains(*name), "the client must not know {name}");
        assert!(!dependencies[*name].contains("florin-client"), "{name} must not know the client");
    }
    for harness in ["florin-tests", "florin-benches"] {
        for name in order.into_iter().chain(["florin-wire", "florin-client"]) {
            assert!(!dependencies[name].contains(harness), "{name} must not know {harness}");
        }
    }
    // A black box is not looked into.
    let ours = dependencies["florin-tests"].iter().find(|needed| needed.starts_with("florin"));
    assert_eq!(ours, None);
}

#[test]
fn the_engine_is_pure() {
    let dependencies = dependencies();
    let impure = [
        "tokio",
        "actix",
        "actix-web",
        "sqlx",
        "fjall",
        "rustix",
        "crossbeam-channel",
        "rand",
        "uuid",
        "tracing",
        "jiff",
    ];
    for needed in &dependencies["florin-engine"] {
        assert!(!impure.contains(&needed.as_str()), "the engine must not know {needed}");
    }
    for (name, forbidden) in [
        ("florin-persistence", &["actix", "actix-web", "ureq"][..]),
        ("florin-actors", &["actix-web", "clap", "ureq"]),
    ] {
        for needed in forbidden {
            assert!(!dependencies[name].contains(*needed), "{name} must not know {needed}");
        }
    }
}
