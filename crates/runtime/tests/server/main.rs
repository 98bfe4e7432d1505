//! The runtime as a program, for its tests: `runtime-under-test run|stop|purge INSTANCE DIRECTORY`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use runtime::{DirectoryImages, RuntimeConfig};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(code) = runtime::init_main(&arguments) {
        return code;
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let [_, verb, instance, directory] = arguments.as_slice() else { return ExitCode::FAILURE };
    let directory = Path::new(directory);
    let config = RuntimeConfig {
        instance: instance.clone(),
        root: directory.join("root"),
        state: directory.join("state"),
        socket: directory.join("cri.sock"),
        not_masqueraded: Vec::new(),
        images: Arc::new(DirectoryImages(directory.join("images"))),
    };
    let done = match verb.as_str() {
        "run" => runtime::run(config),
        "stop" => runtime::stop_all(config),
        _ => runtime::purge(config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
