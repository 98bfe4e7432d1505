//! Running a program and looking at what it said.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a program did.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub line: String,
    /// Its exit code; −1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// The standard output of a program that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0, "{} exited with {}\n{}\n{}", self.line, self.code, self.out, self.err);
        self.out
    }

    /// The standard error of a program that must fail.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(self.code != 0, "{} succeeded\n{}\n{}", self.line, self.out, self.err);
        self.err
    }

    /// The standard output as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{line} printed no JSON: {e}\n{out}"))
    }
}

/// A program with what it is always given.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    env: Vec<(String, OsString)>,
    /// The network namespace that it runs in; none is the test's own.
    namespace: Option<String>,
}

impl Program {
    /// The program that a variable names.
    pub fn from_env(variable: &str) -> Self {
        let path = std::env::var_os(variable)
            .unwrap_or_else(|| panic!("{variable} is not set: run these tests with `cargo xtask e2e`"));
        Self { path: path.into(), env: Vec::new(), namespace: None }
    }

    /// A program of the machine.
    pub fn named(name: &str) -> Self {
        Self { path: name.into(), env: Vec::new(), namespace: None }
    }

    /// A program of this machine, found along PATH.
    pub fn at(name: &str) -> Self {
        Self { path: name.into(), env: Vec::new(), namespace: None }
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// On one of two machines.
    pub fn on(mut self, machines: &crate::Machines, n: usize) -> Self {
        self.namespace = Some(machines.namespace(n));
        self
    }

    /// Where this cluster's machine is, if it is not the test's.
    pub(crate) fn in_namespace(mut self, namespace: Option<String>) -> Self {
        self.namespace = namespace;
        self
    }

    /// The command, for those who want to keep it running.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(&self.path),
            Some(namespace) => {
                // Replaces itself by the program, which has its process id.
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={namespace}")).arg("--").arg(&self.path);
                command
            }
        };
        command.args(args).envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    /// Runs it to its end with something to read.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("{} could not be started: {e}", self.path.display()));
        if let Some(mut pipe) = child.stdin.take() {
            // A program that doesn't read its input is free not to.
            let _ = pipe.write_all(stdin.as_bytes());
        }
        let out = child.wait_with_output().expect("waiting for a child that was started");
        Output {
            line: format!(
                "{} {}",
                self.path.file_name().unwrap_or_default().to_string_lossy(),
                args.join(" ")
            ),
            code: out.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&out.stdout).into_owned(),
            err: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }
}
