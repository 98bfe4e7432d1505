//! `cargo xtask bench [NAME...]`: the figures of docs/benchmarks.md, printed as a Markdown table with its conditions.
//!
//! Every figure is min / median / max of several runs. CPU is that of the server's processes, by the kernel's own
//! accounting; it is what to compare, since wall time on a busy machine says little.

mod cluster;
mod latency;
mod machine;
mod many_nodes;
mod measure;
mod object;
mod pods;
mod runtime;

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
    Bench { name: "latency", run: latency::watch },
    Bench { name: "pods", run: pods::start },
    Bench { name: "runtime", run: runtime::beside_runc },
    Bench { name: "nodes", run: many_nodes::schedule },
    Bench { name: "large", run: cluster::large },
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|w| ALL.iter().all(|b| b.name != **w)) {
        let names: Vec<&str> = ALL.iter().map(|b| b.name).collect();
        eprintln!("there is no benchmark {unknown:?}; there are: {}", names.join(", "));
        std::process::exit(2);
    }
    println!("{}\n", machine::conditions());
    println!("| figure | min | median | max | CPU for each | conditions |\n|---|---|---|---|---|---|");
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
    println!("\nLoad average at the end: {}.", machine::load());
    if failed {
        std::process::exit(1);
    }
}
