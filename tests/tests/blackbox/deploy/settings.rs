//! Every setting, variable and flag that the files name is one that the program knows, and the example has them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use florin_tests::server::{florin, run, run_command};
use tempfile::TempDir;

use super::{files, text, words};

/// Variables of ours that are no settings of the server: those of its clients, of the file, and of local.sh.
const OTHER_VARIABLES: [&str; 4] = ["FLORIN_URL", "FLORIN_CONFIG", "FLORIN_BIN", "FLORIN_API_KEY"];

/// The settings as `florin config` prints them, with their values in force.
fn settings(words: &[&str]) -> BTreeMap<String, (String, String)> {
    let mut command = florin(&[&["config"], words].concat());
    // What the harness sets is no default.
    command.env_remove("FLORIN_SEGMENT_BYTES");
    let ended = run_command(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let rows = ended.stdout.lines().skip(2).filter_map(|line| {
        let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
        Some((columns.next()?.to_owned(), (columns.next()?.to_owned(), columns.next()?.to_owned())))
    });
    rows.collect()
}

/// The settings of the example with their lines, the `#` in front of them taken away.
fn example() -> BTreeMap<String, String> {
    let text = text("florin.example.toml");
    let lines = text.lines().filter_map(|line| {
        let line = line.strip_prefix('#').filter(|line| !line.starts_with(' '))?;
        Some((line.split_once(" = ")?.0.to_owned(), line.to_owned()))
    });
    lines.collect()
}

#[test]
fn the_example_has_every_setting_with_its_default() {
    let defaults = settings(&[]);
    let example = example();
    let named: BTreeSet<&String> = example.keys().collect();
    assert_eq!(named, defaults.keys().collect(), "settings of the example, and those there are");
    // Every default can be written down, and changes nothing.
    let room = TempDir::with_prefix("florin-example-").expect("a temporary directory");
    let file = room.path().join("florin.toml");
    let lines: Vec<&str> = example.values().map(String::as_str).collect();
    fs::write(&file, lines.join("\n")).expect("a temporary file");
    let file = file.to_str().expect("its name is plain");
    for (name, (value, origin)) in settings(&["--config", file]) {
        assert_eq!(value, defaults[&name].0, "the default of {name}");
        assert!(origin.starts_with("file "), "{name} is from {origin}");
    }
}

#[test]
fn a_file_is_checked_before_it_is_used() {
    let example = super::path("florin.example.toml");
    let example = example.to_str().expect("its name is plain");
    let ended = run(&["config", "--check", "--config", example]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let room = TempDir::with_prefix("florin-check-").expect("a temporary directory");
    let file = room.path().join("florin.toml");
    for (line, complaint) in [
        ("lisen = \"127.0.0.1:1\"", "unknown key `lisen`"),
        ("workers = 0", "key workers: `0` must be auto or a number from 1 to 1024"),
        ("listen = \"0.0.0.0:8080\"", "refusing to listen on 0.0.0.0:8080"),
        ("listen", "line 1"),
    ] {
        fs::write(&file, line).expect("a temporary file");
        let ended = run(&["config", "--check", "--config", file.to_str().expect("plain")]);
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        assert!(ended.stderr.contains(complaint), "{line}: {ended:?}");
        assert_eq!(ended.stdout, "", "{line}");
    }
}

#[test]
fn every_variable_is_one_that_the_program_reads() {
    let help = run(&["serve", "--help"]).stdout;
    for name in files() {
        let text = text(&name);
        let variables = words(&text, "FLORIN_", |c| c.is_ascii_uppercase() || c == '_');
        for variable in variables {
            // `FLORIN_…` stands for any of them.
            if variable == "FLORIN_" || OTHER_VARIABLES.contains(&variable) {
                continue;
            }
            let setting = variable.strip_suffix("_FILE").unwrap_or(variable);
            let known = [";", ","].iter().any(|end| help.contains(&format!("[{setting}{end}")));
            assert!(known, "{name} sets {variable}, which florin does not read");
        }
    }
}

/// The flags of all verbs.
fn known_flags() -> BTreeSet<String> {
    let overview = run(&["--help"]).stdout;
    let verbs = overview.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    let verbs: Vec<&str> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.contains(&"serve") && verbs.contains(&"verify"), "{overview}");
    let helps = verbs.iter().filter(|verb| **verb != "help").map(|verb| run(&[verb, "--help"]));
    let mut text: String = helps.map(|ended| ended.stdout).collect();
    if verbs.contains(&"keys") {
        text += &run(&["keys", "new", "--help"]).stdout;
    }
    words(&text, "--", is_flag).into_iter().map(str::to_owned).collect()
}

fn is_flag(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-'
}

/// The parts of a text that speak to florin: in documents code that begins with its name or with a flag, and what follows its
/// name in the lines of a shell; in scripts and units the lines that call it.
fn calls(name: &str, text: &str) -> Vec<String> {
    if name.ends_with(".md") {
        let code = text.split('`').skip(1).step_by(2);
        return code
            .flat_map(|code| match code.strip_prefix("sh\n") {
                Some(shell) => {
                    shell.lines().filter_map(|line| line.split_once("florin ")).collect::<Vec<_>>()
                }
                None if code.starts_with("florin ") || code.starts_with("--") => vec![("", code)],
                None => Vec::new(),
            })
            .map(|(_, call)| call.to_owned())
            .collect();
    }
    let words = ["start_florin ", "\"$program\" serve ", "bin/florin ", "# florin ", " keys new "];
    // The example's own comment indents its lines.
    let lines = text.lines().map(|line| line.replace("#   ", "# "));
    lines.filter(|line| words.iter().any(|word| line.contains(word))).collect()
}

#[test]
fn every_flag_is_one_that_the_program_knows() {
    let known = known_flags();
    let mut seen = BTreeSet::new();
    for name in files() {
        let text = text(&name);
        for call in calls(&name, &text) {
            for flag in words(&call, "--", is_flag) {
                let ok = known.contains(flag);
                assert!(ok, "{name} calls florin with {flag}, which it does not know: {call}");
                seen.insert(flag.to_owned());
            }
        }
    }
    for flag in ["--data-dir", "--config", "--role", "--writer-url"] {
        assert!(seen.contains(flag), "nothing shows {flag}: {seen:?}");
    }
}
