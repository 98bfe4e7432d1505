//! The project's only build tool: `cargo xtask <command>`.

mod kubectl;
mod python;
mod setup;
mod shell;
mod test;
mod tidy;

use anyhow::{Result, bail};
use std::process::ExitCode;

/// One command: its name, what it does, and the function.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        about: "check the machine, install what is missing, say what was done",
        run: setup::run,
    },
    Command {
        name: "demo",
        about: "build, start a cluster, run an application on it, show it",
        run: test::demo,
    },
    Command { name: "dev", about: "build and start a cluster from this checkout", run: test::dev },
    Command { name: "check", about: "format, lints, tidy, documentation", run: test::check },
    Command { name: "test", about: "all tests: units, simulation, end to end", run: test::all },
    Command { name: "sim", about: "the simulation: [SEEDS [FIRST]]", run: test::sim },
    Command { name: "e2e", about: "the real binary under real kubectl and Helm: [FILTER]", run: test::e2e },
    Command { name: "bench", about: "the benchmarks of docs/benchmarks.md: [NAME]", run: test::bench },
    Command { name: "tidy", about: "the norms of the house: edges, sizes, licences", run: tidy::run },
    Command { name: "ci", about: "what CI runs: check and test", run: test::ci },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((name, rest)) = args.split_first() else {
        println!("cargo xtask <command>\n");
        for c in COMMANDS {
            println!("  {:<8}{}", c.name, c.about);
        }
        return Ok(());
    };
    let Some(command) = COMMANDS.iter().find(|c| c.name == name) else {
        bail!("there is no command {name:?}; `cargo xtask` lists them");
    };
    (command.run)(rest)
}
