//! Simulates ledgers, one seed after the other, until something that must be true is not, or enough was done. Started by `./tests/simulate`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use florin_actors::simulation::{Report, simulate};

/// What to do.
struct Asked {
    seed: u64,
    steps: u64,
    minutes: f64,
}

fn main() -> ExitCode {
    let asked = match read_arguments() {
        Ok(asked) => asked,
        Err(problem) => {
            eprintln!("{problem}");
            eprintln!("usage: simulate [--seed N] [--steps M] [--minutes K]");
            return ExitCode::from(2);
        }
    };
    // A panic is caught, and told with its seed.
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let began = Instant::now();
    let patience = Duration::from_secs_f64(asked.minutes * 60.0);
    let mut sum = Report::default();
    let mut seed = asked.seed;
    while sum.steps < asked.steps && began.elapsed() < patience {
        match simulate(seed) {
            Ok(report) => sum.add(&report),
            Err(violated) => {
                println!("{sum}");
                for trouble in &violated.troubles {
                    println!("{trouble}");
                }
                println!("VIOLATED: {violated}");
                println!("replay with: ./tests/simulate --seed {seed} --steps 1");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{sum}");
    println!(
        "seeds {} to {}: nothing violated in {seconds:.1} s, {:.0} steps/s",
        asked.seed,
        seed - 1,
        sum.steps as f64 / seconds
    );
    ExitCode::SUCCESS
}

fn read_arguments() -> Result<Asked, String> {
    let mut asked = Asked { seed: 1, steps: 1_000_000, minutes: 60.0 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let unreadable = |_| format!("{name} {value} is no number");
        match name.as_str() {
            "--seed" => asked.seed = value.parse().map_err(unreadable)?,
            "--steps" => asked.steps = value.parse().map_err(unreadable)?,
            "--minutes" => {
                asked.minutes = value
                    .parse()
                    .ok()
                    .filter(|minutes: &f64| minutes.is_finite() && *minutes >= 0.0)
                    .ok_or_else(|| format!("{name} {value} is no number of minutes"))?;
            }
            _ => return Err(format!("there is no {name}")),
        }
    }
    Ok(asked)
}
