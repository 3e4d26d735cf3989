//! What the README and the examples say is true: their lines run, and their answers are the answers.

use std::fs;
use std::process::Command;

use florin_tests::compare::first_difference;
use florin_tests::server::{TestServer, project, run, run_command};
use serde_json::Value;

/// The address that readers copy.
const WRITTEN: &str = "127.0.0.1:8080";

/// A shell or Python with the server's address, that asks nobody else on the way.
fn command(program: &str, server: &TestServer) -> Command {
    let mut command = Command::new(program);
    command
        .env("FLORIN_URL", server.base())
        .env("no_proxy", "127.0.0.1")
        .env("NO_PROXY", "127.0.0.1");
    command.current_dir(project());
    command
}

/// The fenced blocks of a document with the words after their fence.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(words), None) => open = Some((words.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn the_lines_of_the_readme_run_and_answer_as_it_says() {
    let text =
        fs::read_to_string(project().join("README.md")).unwrap_or_else(|error| panic!("{error}"));
    let server = TestServer::start();
    let blocks = blocks(&text);
    let mut ran = 0;
    for (place, (words, block)) in blocks.iter().enumerate() {
        if words != "sh test" {
            continue;
        }
        ran += 1;
        let script = block.replace(WRITTEN, &server.address().to_string());
        let mut shell = command("bash", &server);
        shell.args(["-euc", &script]);
        let ended = run_command(shell);
        assert_eq!(ended.code, Some(0), "{block}\n{ended:?}");
        // The answer stands in the next block.
        let Some((_, expected)) = blocks.get(place + 1).filter(|(words, _)| words == "json") else {
            continue;
        };
        let actual: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{block}\n{ended:?}"));
        let expected: Value =
            serde_json::from_str(expected).unwrap_or_else(|error| panic!("{error}: {expected}"));
        if let Some(difference) = first_difference(&actual, &expected) {
            panic!("{difference}\n{block}\n{actual:#}");
        }
    }
    assert!(ran >= 5, "only {ran} blocks of the README ran");
}

#[test]
fn the_examples_run() {
    let server = TestServer::start();
    let directory = project().join("examples");
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{error}"));
    let mut ran = Vec::new();
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{error}")).path();
        let program = match path.extension().and_then(|extension| extension.to_str()) {
            Some("sh") => "bash",
            Some("py") => "python3",
            _ => continue,
        };
        // Twice: what an example does is decided once, so nothing goes wrong the second time.
        for _ in 0..2 {
            let mut script = command(program, &server);
            script.arg(&path);
            let ended = run_command(script);
            assert_eq!(ended.code, Some(0), "{}: {ended:?}", path.display());
            assert!(!ended.stdout.is_empty(), "{} says nothing", path.display());
        }
        ran.push(program);
    }
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran, ["bash", "python3"]);
}

#[test]
fn the_unit_file_calls_the_program_with_words_it_knows() {
    let text = fs::read_to_string(project().join("deploy/florin.service"));
    let text = text.unwrap_or_else(|error| panic!("{error}"));
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let line = line.unwrap_or_else(|| panic!("the unit file starts nothing"));
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert_eq!(words.first(), Some(&"serve"));
    let ended = run(&[&["config"], &words[1..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
