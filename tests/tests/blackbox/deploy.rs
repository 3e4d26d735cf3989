//! What stands in `deploy/` is true: its files name settings, metrics, ports and paths that exist, and the programs that read such
//! files find nothing wrong with them.

mod linters;
mod local_set;
mod metrics;
mod places;
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use florin_tests::server::{Ended, project, run_command};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    project().join("deploy").join(name)
}

fn text(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of `deploy/` that is no directory and is made by nobody but us.
fn files() -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<String>) {
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{error}"));
        for entry in entries {
            let path = entry.unwrap_or_else(|error| panic!("{error}")).path();
            // What secrets.sh and local.sh make.
            if path == self::path("secrets") || path == self::path(".local") {
                continue;
            }
            if path.is_dir() {
                walk(&path, found);
            } else {
                let name = path.strip_prefix(self::path("")).expect("it stands there");
                found.push(name.to_str().expect("its name is plain").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&path(""), &mut found);
    found.sort();
    found
}

/// A program that `./tests/run` installs beside what is built, or that is on the path.
fn tool(name: &str) -> Command {
    let test = std::env::current_exe().expect("a running test has a path");
    let target = test.ancestors().nth(3).expect("tests are built into a target directory");
    let ours = target.join("test-tools/bin").join(name);
    let others = std::env::var_os("PATH").unwrap_or_default();
    let program = std::iter::once(ours.clone())
        .chain(std::env::split_paths(&others).map(|directory| directory.join(name)))
        .find(|program| program.is_file());
    let program = program.unwrap_or_else(|| {
        panic!("{name} is neither in {} nor on the path: ./tests/run installs it", ours.display())
    });
    let mut command = Command::new(program);
    command.current_dir(path(""));
    command
}

/// Runs a command that must find nothing wrong.
fn must_succeed(command: Command) -> Ended {
    let shown = format!("{command:?}");
    let ended = run_command(command);
    assert_eq!(ended.code, Some(0), "{shown}\n{}{}", ended.stdout, ended.stderr);
    ended
}

/// A YAML file as JSON, its anchors and merges resolved.
fn yaml(name: &str) -> Value {
    let mut python = tool("python");
    let program =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    python.args(["-c", program, name]);
    let ended = must_succeed(python);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The words of a text that begin with `prefix` and go on with what `more` allows.
fn words<'a>(text: &'a str, prefix: &'a str, more: fn(char) -> bool) -> BTreeSet<&'a str> {
    let starts = text.match_indices(prefix).map(|(at, _)| at);
    starts
        // Not in the middle of another word.
        .filter(|at| !text[..*at].ends_with(|before: char| more(before) || before == '-'))
        .map(|at| {
            let rest = &text[at + prefix.len()..];
            let end = rest.find(|c| !more(c)).unwrap_or(rest.len());
            &text[at..at + prefix.len() + end]
        })
        .collect()
}
