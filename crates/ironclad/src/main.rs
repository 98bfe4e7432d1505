//! `ironclad`: Kubernetes in one binary.

mod agent;
mod check;
mod claims;
mod cli;
mod data_dir;
mod demo;
mod demo_image;
mod demo_server;
mod down;
mod ending;
mod images;
mod kubeconfig;
mod machine;
mod node;
mod progress;
mod publish;
mod runtime_process;
mod settings;
mod signer;
mod token;
mod up;
mod volumes;
mod wiring;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let started = std::time::Instant::now();
    let arguments: Vec<String> = std::env::args().collect();
    // Processes that the container runtime starts of this binary: asked first, before anything else is set up.
    if let Some(code) = runtime::init_main(&arguments) {
        return code;
    }
    let result = match arguments.get(1).map(String::as_str) {
        // What the binary does inside its own image, and as the runtime's process; no user types these.
        Some("demo-server") => demo_server::run(),
        Some("fetch") => demo_server::fetch(&arguments[2..]),
        Some(runtime_process::ARGUMENT) => runtime_process::main(&arguments[2..]),
        _ => dispatch(Cli::parse().command, started),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            use std::io::Write;
            // Where nobody reads it, the exit code says it alone.
            let _ = writeln!(std::io::stderr(), "ironclad: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, started: std::time::Instant) -> anyhow::Result<()> {
    match command {
        Command::Up(flags) => up::run(settings::Settings::new(flags, false)?, started),
        Command::Server(flags) => up::run(settings::Settings::new(flags, true)?, started),
        Command::Agent(flags) => agent::run(flags, started),
        Command::Token(flags) => token::run(flags),
        Command::Down(flags) => down::run(flags),
        Command::Image(command) => images::run(command),
        Command::Check => check::run(),
        Command::Kubeconfig(flags) => kubeconfig::run(flags),
        Command::Version => progress::print(&format!(
            "ironclad {}, Kubernetes API {}\n",
            env!("CARGO_PKG_VERSION"),
            apiserver::VERSION
        )),
        Command::Completion { shell } => progress::print(&cli::completion(shell)),
        Command::Demo(flags) => demo::run(flags),
    }
}
