//! Where tables go: into `benches/results`, and from there into `benches/README.md`, so that no figure is copied by hand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes a table down as `results/NAME.md`, with pictures beside it, and puts it into the README between the lines that name it. Gives the
/// directory.
///
/// # Errors
/// A file can not be written, or the README has no such lines.
pub fn write(name: &str, table: &str, pictures: &[(&str, String)]) -> io::Result<PathBuf> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (results, readme) = (benches.join("results"), benches.join("README.md"));
    let text = fs::read_to_string(&readme)?;
    let text = placed(&text, name, table)
        .ok_or_else(|| io::Error::other(format!("README.md has no place for {name}")))?;
    fs::create_dir_all(&results)?;
    fs::write(results.join(format!("{name}.md")), table)?;
    for (file, picture) in pictures {
        fs::write(results.join(file), picture)?;
    }
    fs::write(readme, text)?;
    Ok(results)
}

/// The text with a table between the lines that name it, without the table's own title.
fn placed(text: &str, name: &str, table: &str) -> Option<String> {
    let [begin, end] = [format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n")];
    let from = text.find(&begin)? + begin.len();
    let to = from + text[from..].find(&end)?;
    let body = match table.split_once("\n\n") {
        Some((title, body)) if title.starts_with("# ") => body,
        _ => table,
    };
    Some(format!("{}{}\n{}", &text[..from], body.trim_end(), &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let text = "before\n<!-- a -->\nold\n<!-- end of a -->\nbehind\n";
        let once = placed(text, "a", "# Title\n\nnew\n\n").expect("there is a place");
        assert_eq!(once, "before\n<!-- a -->\nnew\n<!-- end of a -->\nbehind\n");
        assert_eq!(placed(&once, "a", "new"), Some(once.clone()));
        assert_eq!(placed(text, "b", "new"), None);
    }

    #[test]
    fn the_readme_has_a_place_for_each() {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let text = fs::read_to_string(readme).expect("there is a README");
        for name in ["http", "latency", "embedded", "start", "micro"] {
            assert!(placed(&text, name, "").is_some(), "{name}");
        }
    }
}
