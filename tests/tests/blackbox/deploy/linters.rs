//! The programs that people run over such files find nothing.

use std::process::Command;

use florin_tests::server::project;

use super::{files, must_succeed, path, tool};

#[test]
fn the_dockerfile_is_well_made() {
    let mut hadolint = tool("hadolint");
    hadolint.arg("Dockerfile");
    must_succeed(hadolint);
}

#[test]
fn the_scripts_are_well_made() {
    let mut shellcheck = tool("shellcheck");
    // What scripts read is followed from the root of the project; the file of cargo's own environment is not ours to follow.
    shellcheck.args(["--exclude=SC1091", "--external-sources", "--source-path"]).arg(project());
    let scripts = files().into_iter().filter(|name| name.ends_with(".sh")).map(|name| path(&name));
    let scripts: Vec<_> = scripts.collect();
    assert!(scripts.len() >= 2, "{scripts:?}");
    let others = [
        "tests/run",
        "tests/tools.sh",
        "tests/fuzz/instrument",
        "tests/fuzz/run",
        "tests/openapi",
        "tests/simulate",
        "tests/concurrency",
        "tests/crash",
        "tests/overload",
        "tests/soak",
        ".ci/run",
        "deploy/build",
        "benches/batches.sh",
        "benches/build.sh",
        "benches/expiry.sh",
        "benches/ids.sh",
        "benches/http/run",
        "benches/http/latency",
        "benches/readers.sh",
        "benches/postgres.sh",
        "benches/load/run",
        "benches/embedded",
        "benches/micro",
        "benches/start.sh",
    ];
    shellcheck.args(scripts).args(others.map(|name| project().join(name)));
    must_succeed(shellcheck);
}

#[test]
fn the_yaml_is_well_made() {
    let mut yamllint = tool("yamllint");
    let names = files().into_iter().filter(|name| name.ends_with(".yaml"));
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 4, "{names:?}");
    yamllint.args(["--strict", "--config-file", ".yamllint.yaml"]).args(names);
    must_succeed(yamllint);
}

#[test]
fn the_compose_file_is_one() {
    let mut schema = tool("check-jsonschema");
    schema.args(["--builtin-schema", "vendor.compose-spec", "compose.yaml"]);
    must_succeed(schema);
}

#[test]
fn prometheus_understands_its_files() {
    for (words, file) in [
        (["check", "config"], "prometheus/scrape.yaml"),
        (["check", "rules"], "prometheus/alerts.yaml"),
        (["test", "rules"], "prometheus/alerts.test.yaml"),
    ] {
        let mut promtool = tool("promtool");
        promtool.args(words).arg(file);
        must_succeed(promtool);
    }
}

/// Where there is a systemd to ask: it scores what a service could do if somebody else took it over, from 0 to 10.
#[test]
fn the_unit_is_confined() {
    let there = Command::new("systemd-analyze").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("systemd-analyze is not here, so that the unit's exposure is not scored");
        return;
    }
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=yes", "--threshold=20"]).arg(path("florin.service"));
    must_succeed(analyze);
}
