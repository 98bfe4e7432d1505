//! A program that runs beside the test.

use crate::program::Program;
use crate::wait::eventually;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Background {
    line: String,
    child: Child,
    printed: tempfile::NamedTempFile,
}

impl Background {
    /// Starts it; what it prints goes to a file in `dir`.
    #[track_caller]
    pub fn start(program: &Program, args: &[&str], dir: &Path) -> Self {
        let printed = tempfile::NamedTempFile::new_in(dir).expect("a file for what is printed");
        let to = || Stdio::from(printed.as_file().try_clone().expect("a second descriptor"));
        let mut command = program.command(args);
        command.stdin(Stdio::piped()).stdout(to()).stderr(to());
        let child = command.spawn().expect("starting a program in the background");
        Self { line: args.join(" "), child, printed }
    }

    /// What it printed until now, errors too.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.printed.path()).unwrap_or_default()
    }

    /// Waits until it has printed this.
    #[track_caller]
    pub fn says(&self, expected: &str) {
        eventually(&format!("{} prints {expected:?}", self.line), || {
            let printed = self.printed();
            if printed.contains(expected) { Ok(()) } else { Err(printed) }
        });
    }

    /// Types something.
    pub fn types(&mut self, text: &str) {
        if let Some(pipe) = self.child.stdin.as_mut() {
            // Refused only when the program has ended, which the next look tells.
            let _ = pipe.write_all(text.as_bytes());
        }
    }

    /// The address after this word, once it is printed: `port-forward` and `proxy` say where they listen.
    #[track_caller]
    pub fn address(&self) -> String {
        eventually(&format!("{} listens", self.line), || {
            let printed = self.printed();
            let at = printed.find("127.0.0.1:").ok_or_else(|| printed.clone())?;
            let rest = printed.get(at..).unwrap_or_default();
            rest.split_whitespace().next().map(str::to_owned).ok_or_else(|| printed.clone())
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
