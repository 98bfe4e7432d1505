//! `cargo xtask tidy`: the norms of the house as a test. Exceptions stand in one list that may only shrink.

use crate::shell;
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::Path;

/// What each room may name, besides `stdx` and `meta`. `*` names all.
const EDGES: &[(&str, &str)] = &[
    ("stdx", ""),
    ("meta", ""),
    ("schema", ""),
    ("api", ""),
    ("cri", "api"),
    ("store", ""),
    ("client", "api"),
    ("reconcile", "client api"),
    ("auth", "api"),
    ("registry", "schema api"),
    ("admission", "auth registry schema api"),
    ("apiserver", "store client auth registry admission schema"),
    ("controllers", "reconcile client api"),
    ("scheduler", "reconcile client api"),
    ("network", "reconcile client api"),
    ("kubelet", "reconcile client cri api"),
    ("image", ""),
    ("runtime", "cri image"),
    ("ironclad", "*"),
    ("testkit", "*"),
    ("sim", "*"),
    ("e2e", "*"),
    ("xtask", ""),
];

/// Licences that a dependency may have; an `OR` needs one of them, an `AND` all.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "Unlicense",
    "BSL-1.0",
    "MPL-2.0",
    "CDLA-Permissive-2.0",
];

/// Crates that must not come in, not even through another.
const BANNED: &[&str] = &["openssl-sys", "native-tls", "aws-lc-sys", "spdy-mux", "rustables"];

/// Names that say nothing about what a file holds.
const VAGUE: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

const MAX_FUNCTION: usize = 70;
const MAX_FILE: usize = 1000;

/// Functions and files over the norm, as `path[:function]`. May only shrink.
const EXCEPTIONS: &[&str] = &[];

/// Holds every norm; prints each breach and fails when there is one.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    let text = shell::output("cargo", &["metadata", "--format-version=1", "--locked", "--offline"])
        .or_else(|_| shell::output("cargo", &["metadata", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let mut breaches = dependencies(&metadata);
    let root = shell::root();
    for file in rust_files(&root.join("crates"))? {
        let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().into_owned();
        breaches.extend(sizes(&name, &std::fs::read_to_string(&file)?));
    }
    breaches.retain(|b| !EXCEPTIONS.iter().any(|e| b.starts_with(&format!("{e}:"))));
    for b in &breaches {
        eprintln!("tidy: {b}");
    }
    if !breaches.is_empty() {
        bail!("{} breaches of the norms in docs/style.md", breaches.len());
    }
    println!("tidy: edges, licences, files and functions keep the norms");
    Ok(())
}

/// Breaches in the graph of dependencies: edges between rooms, licences, banned crates.
fn dependencies(metadata: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    let packages = metadata["packages"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    for p in packages {
        let name = p["name"].as_str().unwrap_or_default();
        if p["source"].is_null() {
            breaches.extend(edges(name, p));
            continue;
        }
        let licence = p["license"].as_str().unwrap_or_default();
        if !licensed(licence) {
            breaches.push(format!("{name}: its licence {licence:?} is not on the list"));
        }
        if BANNED.contains(&name) {
            breaches
                .push(format!("{name}: banned, see deny.toml; `cargo tree -i {name}` says who brings it"));
        }
    }
    breaches
}

fn edges(name: &str, package: &Value) -> Vec<String> {
    let Some((_, allowed)) = EDGES.iter().find(|(n, _)| *n == name) else {
        return vec![format!("{name}: a room that the list of edges doesn't know; see ARCHITECTURE.md")];
    };
    let deps = package["dependencies"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let inside = deps.iter().filter(|d| d["source"].is_null() && d["kind"].as_str() != Some("dev"));
    let names = inside.filter_map(|d| d["name"].as_str());
    let may =
        |d: &str| *allowed == "*" || ["stdx", "meta"].contains(&d) || allowed.split(' ').any(|a| a == d);
    names.filter(|d| !may(d)).map(|d| format!("{name}: may not name {d}; see ARCHITECTURE.md")).collect()
}

/// Whether a licence expression can be met from the list.
fn licensed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" AND ").all(|all| all.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}

fn rust_files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Breaches of size and name in one file. Unit tests at a file's end don't count.
fn sizes(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let stem = Path::new(name).file_stem().map_or("", |s| s.to_str().unwrap_or_default());
    if VAGUE.contains(&stem) {
        breaches.push(format!("{name}: a name that says nothing; name what it holds"));
    }
    let lines: Vec<&str> = text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).collect();
    if lines.len() > MAX_FILE {
        breaches.push(format!("{name}: {} lines, at most {MAX_FILE}", lines.len()));
    }
    breaches.extend(
        functions(&lines)
            .filter(|(_, n)| *n > MAX_FUNCTION)
            .map(|(function, n)| format!("{name}:{function}: {n} lines, at most {MAX_FUNCTION}")),
    );
    breaches
}

/// Each function of formatted source with its number of lines.
fn functions<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = (&'a str, usize)> {
    lines.iter().enumerate().filter_map(|(start, line)| {
        let indent = line.len() - line.trim_start().len();
        let name = function_name(line.trim_start())?;
        if line.ends_with(';') || line.ends_with('}') {
            return None;
        }
        let close = format!("{}}}", &line[..indent]);
        let end = lines[start..].iter().position(|l| *l == close)?;
        Some((name, end + 1))
    })
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences() {
        assert!(licensed("MIT OR Apache-2.0"));
        assert!(licensed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(licensed("MIT/Apache-2.0"));
        assert!(!licensed("GPL-3.0"));
        assert!(!licensed("MIT AND GPL-3.0"));
        assert!(!licensed(""));
    }

    #[test]
    fn long_function_and_vague_name() {
        let body = "    x();\n".repeat(70);
        let text = format!("pub(crate) fn short() {{\n}}\nfn long(a: u8) {{\n{body}}}\n");
        let got = sizes("crates/a/src/utils.rs", &text);
        assert_eq!(
            got,
            [
                "crates/a/src/utils.rs: a name that says nothing; name what it holds",
                "crates/a/src/utils.rs:long: 72 lines, at most 70",
            ]
        );
    }

    #[test]
    fn tests_do_not_count() {
        let text = format!("fn a() {{\n}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "    x\n".repeat(2000));
        assert!(sizes("a.rs", &text).is_empty());
    }
}
