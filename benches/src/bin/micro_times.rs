//! How long each case takes, with criterion. `benches/micro` starts it.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use florin_benches::micro::{Case, all};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50)
        .configure_from_args();
    for named in all() {
        let mut group = criterion.benchmark_group(named.group);
        group.throughput(Throughput::Elements(named.each));
        // One for all samples: setting up a ledger takes longer than a sample.
        let mut begun: Option<Box<dyn Case>> = None;
        group.bench_function(named.name, |bencher| {
            let case = begun.get_or_insert_with(named.begin);
            bencher.iter_custom(|steps| {
                let mut took = Duration::ZERO;
                for _ in 0..steps {
                    case.prepare();
                    let began = Instant::now();
                    case.step();
                    took += began.elapsed();
                }
                took
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
