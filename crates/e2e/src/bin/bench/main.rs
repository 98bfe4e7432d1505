//! `cargo xtask bench [NAME]`: the figures of docs/benchmarks.md, printed as rows of a Markdown table.
//!
//! Every figure is min / median / max of several runs. CPU is that of the server's processes, by the kernel's own
//! accounting; it is what to compare, since wall time on a busy machine says little.

mod cluster;
mod measure;
mod object;
mod pods;

use measure::Row;

/// One benchmark.
struct Bench {
    name: &'static str,
    run: fn() -> Result<Vec<Row>, String>,
}

const ALL: &[Bench] = &[
    Bench { name: "start", run: cluster::start },
    Bench { name: "idle", run: cluster::idle },
    Bench { name: "get", run: object::get },
    Bench { name: "create", run: object::create },
    Bench { name: "list", run: object::list },
    Bench { name: "watch", run: object::watch },
    Bench { name: "pods", run: pods::start },
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    println!("| figure | min | median | max | conditions |\n|---|---|---|---|---|");
    let mut failed = false;
    for bench in ALL.iter().filter(|b| wanted.is_empty() || wanted.iter().any(|w| w == b.name)) {
        match (bench.run)() {
            Ok(rows) => rows.iter().for_each(|r| println!("{r}")),
            Err(e) => {
                failed = true;
                eprintln!("{}: {e}", bench.name);
            }
        }
    }
    if failed {
        std::process::exit(1);
    }
}
