//! What each step on the way of a transfer costs by itself.
//!
//! The cases stand here, apart from what measures them: `bin/micro_times.rs` tells nanoseconds with criterion, `bin/micro_instructions.rs` counts instructions
//! with gungraun, and the test below runs each, so that those who change the ledger keep them whole without either. A case that writes says in its name
//! whether it waits for the disk.

mod amounts;
mod bank;
mod binary;
mod commit;
mod decide;
mod ids;
#[cfg(feature = "micro")]
mod json;
mod records;
mod round_trip;

use std::hint::black_box;

use florin_persistence::journal::SEGMENT_BYTES_DEFAULT;

/// Of journals: what production has, and less where nothing is measured.
const SEGMENT_BYTES: u64 = if cfg!(test) { 4 << 20 } else { SEGMENT_BYTES_DEFAULT };

/// Something that is measured again and again.
pub trait Case {
    /// Makes what the next step works on, and drops what the last one left: not measured.
    fn prepare(&mut self);
    /// What is measured. Once after each [`Case::prepare`].
    ///
    /// # Panics
    /// It did not do what its name says.
    fn step(&mut self);
}

/// Whether the instructions of a step are the same in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// It does everything itself, in the same order.
    Same,
    /// Other threads, the disk or a random seed take part.
    Differ,
}

/// A case and what its figures mean.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// What part of the way it is of.
    pub group: &'static str,
    /// What it does.
    pub name: &'static str,
    /// How many of what the name says one step does.
    pub each: u64,
    /// Whether its instructions can be compared.
    pub instructions: Instructions,
    /// Sets it up.
    pub begin: fn() -> Box<dyn Case>,
}

impl Named {
    const fn new(
        group: &'static str,
        name: &'static str,
        each: u64,
        begin: fn() -> Box<dyn Case>,
    ) -> Named {
        Named { group, name, each, instructions: Instructions::Same, begin }
    }

    /// The case, with instructions that differ from run to run.
    const fn differing(self) -> Named {
        Named { instructions: Instructions::Differ, ..self }
    }
}

/// Every case, in the order of the table.
#[must_use]
pub fn all() -> Vec<Named> {
    let mut all = Vec::new();
    all.extend(amounts::CASES);
    #[cfg(feature = "micro")]
    all.extend(json::CASES);
    all.extend(binary::CASES);
    all.extend(decide::CASES);
    all.extend(ids::CASES);
    all.extend(records::CASES);
    all.extend(commit::CASES);
    all.extend(round_trip::CASES);
    all
}

/// A case made of two functions: what prepares, and what is measured with what was prepared.
struct Fed<S, I, O, P, R> {
    state: S,
    prepare: P,
    run: R,
    input: Option<I>,
    output: Option<O>,
}

impl<S, I, O, P, R> Case for Fed<S, I, O, P, R>
where
    P: FnMut(&mut S) -> I,
    R: FnMut(&mut S, I) -> O,
{
    fn prepare(&mut self) {
        self.output = None;
        self.input = Some((self.prepare)(&mut self.state));
    }

    fn step(&mut self) {
        let input = self.input.take().expect("it was prepared");
        self.output = Some(black_box((self.run)(&mut self.state, black_box(input))));
    }
}

/// What a step makes is dropped with the next preparation, as in the ledger others drop it.
fn fed<S: 'static, I: 'static, O: 'static>(
    state: S,
    prepare: impl FnMut(&mut S) -> I + 'static,
    run: impl FnMut(&mut S, I) -> O + 'static,
) -> Box<dyn Case> {
    Box::new(Fed { state, prepare, run, input: None, output: None })
}

/// A case that works on the same things each time.
fn unfed<S: 'static, O: 'static>(
    state: S,
    mut run: impl FnMut(&mut S) -> O + 'static,
) -> Box<dyn Case> {
    fed(state, |_| (), move |state, ()| run(state))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each asserts itself that it does what its name says.
    #[test]
    fn every_case_runs_again_and_again() {
        for named in all() {
            let mut case = (named.begin)();
            for _ in 0..3 {
                case.prepare();
                case.step();
            }
        }
    }

    #[test]
    fn no_two_have_one_name() {
        let names: BTreeSet<_> = all().iter().map(|named| (named.group, named.name)).collect();
        assert_eq!(names.len(), all().len());
    }
}
