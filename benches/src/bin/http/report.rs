//! The table, as it is shown and written down.

use std::fmt::Write;
use std::time::Duration;

use florin_benches::bank::ACCOUNTS;
use florin_benches::cpu::Used;
use florin_benches::figures::{median, thousands};
use florin_benches::machine;

use crate::subjects::Who;
use crate::{BATCH_CONNECTIONS, CONNECTIONS, Case, Choice, POOL, Run};

/// What all rows have in common.
pub(crate) struct About {
    pub(crate) rounds: u64,
    /// Of one run of single transfers.
    pub(crate) seconds: u64,
    /// What 4 KiB and an `fdatasync` take on this disk.
    pub(crate) sync_micros: f64,
    /// Of PostgreSQL.
    pub(crate) version: String,
}

const HEAD: &str = "\
| | requests/s | transfers/s | in SQL/s | p50 ms | p99 ms | p99.9 ms | max ms | wrk | server | PostgreSQL | others | bytes each | of empty | × row locks |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// All rounds, each with its runs in the order of [`Case::all`], as Markdown.
pub(crate) fn markdown(about: &About, rounds: &[Vec<Run>], checkpoints: &[(Who, f64)]) -> String {
    let mut text = String::new();
    let About { rounds: count, seconds, sync_micros, version } = about;
    let _ = writeln!(text, "# One machine, one load, over HTTP\n");
    let _ = writeln!(
        text,
        "Written by `benches/http/run` on {}, commit {}.\n\n{}; PostgreSQL {version}; 4 KiB and `fdatasync` {sync_micros:.0} µs. Medians of {count} \
         rounds of {seconds} s ({} s for batches), {} accounts, {CONNECTIONS} connections ({BATCH_CONNECTIONS} for batches), {POOL} to the database of the row \
         locks; the load generator and everything else on this machine.\n",
        machine::date(),
        machine::commit(),
        machine::describe(),
        crate::Form::JsonBatch.seconds(*seconds),
        thousands(ACCOUNTS as f64),
    );
    text.push_str(HEAD);
    let cases = Case::all();
    for (index, case) in cases.iter().enumerate() {
        if index == 0 || (cases[index - 1].form != case.form) {
            let _ = writeln!(text, "| **{}** |{}", case.form, " |".repeat(14));
        }
        row(&mut text, &cases, index, rounds);
    }
    let _ = writeln!(text);
    for (who, bytes) in checkpoints {
        let _ = writeln!(
            text,
            "The checkpoint at the end of {who} wrote {bytes:.0} bytes for each transfer of all its runs, beyond these."
        );
    }
    text
}

fn row(text: &mut String, cases: &[Case], index: usize, rounds: &[Vec<Run>]) {
    let case = cases[index];
    let of = |figure: &dyn Fn(&Run) -> f64| median(rounds.iter().map(|runs| figure(&runs[index])));
    let each = case.form.transfers() as f64;
    let rate = of(&|run| run.answers.rate);
    // Kept nowhere, it is never in SQL and writes nothing.
    let kept = case.who != Who::Empty;
    let dash = || "–".to_owned();
    let stored = if kept {
        thousands(of(&|run| run.answers.count as f64 * each / run.stored_seconds))
    } else {
        dash()
    };
    let known = rounds.iter().all(|runs| runs[index].written.is_some());
    let bytes = if kept && known {
        thousands(of(&|run| {
            run.written.unwrap_or_default() as f64 / (run.answers.count as f64 * each).max(1.0)
        }))
    } else {
        dash()
    };
    let longest = rounds.iter().map(|runs| runs[index].answers.max_ms).fold(0.0, f64::max);
    let part = |time: fn(&Used) -> Duration| {
        format!("{:.2}", of(&|run| run.used.processors(time(&run.used))))
    };
    let postgres = match case.who {
        Who::Postgres | Who::RowLocks => part(|used| used.postgres),
        Who::Empty | Who::Sqlite => dash(),
    };
    // Ratios of one round: what made it slow made both slow.
    let to = |who: Who, choice: Choice| {
        let other = Case { form: case.form, choice, who };
        let at = cases.iter().position(|case| *case == other).expect("it is in the table");
        let ratio = |runs: &Vec<Run>| runs[index].answers.rate / runs[at].answers.rate;
        median(rounds.iter().map(ratio))
    };
    let row_locks = match case.who {
        Who::Empty => dash(),
        _ => shown(to(Who::RowLocks, case.choice)),
    };
    let _ = writeln!(
        text,
        "| {}, {} | {} | {} | {stored} | {:.2} | {:.2} | {:.2} | {longest:.1} | {} | {} | {postgres} | {} | {bytes} | {} | {row_locks} |",
        case.who,
        case.choice,
        if rate < 1_000.0 { format!("{rate:.1}") } else { thousands(rate) },
        thousands(rate * each),
        of(&|run| run.answers.p50_ms),
        of(&|run| run.answers.p99_ms),
        of(&|run| run.answers.p999_ms),
        part(|used| used.load),
        part(|used| used.server),
        part(Used::others),
        shown(to(Who::Empty, Choice::Uniform)),
    );
}

/// A ratio with two digits that mean something.
fn shown(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}
