//! `/logs/`: the node's own logs, below `/var/log` (`logsPath` of `pkg/kubelet/server/server.go`; the pages are Go's
//! `http.FileServer`'s). No path and no link leads out of that directory: whoever may write there (a pod with a hostPath)
//! must not read the node's files through us.

use super::{Answer, answer, text};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::convert::Infallible;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// Where a node's logs are.
const ROOT: &str = "/var/log";
/// Entries of a directory that are shown.
const MAX_ENTRIES: usize = 10_000;
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

enum Found {
    File(File),
    /// Names, of directories with a slash.
    Directory(Vec<String>),
    Missing,
    Forbidden,
}

fn open(root: &Path, path: &Path) -> rustix::io::Result<OwnedFd> {
    let top = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    // What is no file must not be waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat2(&top, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

fn find(root: &Path, path: &Path) -> std::io::Result<Found> {
    let file = match open(root, path) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(Found::Missing),
        Err(Errno::ACCESS | Errno::PERM | Errno::XDEV) => return Ok(Found::Forbidden),
        Err(e) => return Err(e.into()),
    };
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(Found::File(file));
    }
    if !kind.is_dir() {
        return Ok(Found::Forbidden);
    }
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&file)?.take(MAX_ENTRIES) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            let slash = if entry.file_type() == rustix::fs::FileType::Directory { "/" } else { "" };
            names.push(format!("{name}{slash}"));
        }
    }
    names.sort();
    Ok(Found::Directory(names))
}

/// A directory as a page of links.
fn page(names: &[String]) -> String {
    let mut out =
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n".to_owned();
    for name in names {
        let text = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
        let link: String = name.bytes().map(escaped).collect();
        out.push_str(&format!("<a href=\"{link}\">{text}</a>\n"));
    }
    out.push_str("</pre>\n");
    out
}

fn escaped(b: u8) -> String {
    match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(b).to_string()
        }
        _ => format!("%{b:02X}"),
    }
}

/// Serves what is at `parts` below the logs.
pub(crate) async fn serve(parts: &[&str]) -> Answer {
    let path: PathBuf = parts.iter().collect();
    let found = tokio::task::spawn_blocking(move || find(Path::new(ROOT), &path)).await;
    match found.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
        Ok(Found::Directory(names)) => answer(200, "text/html; charset=utf-8", page(&names)),
        Ok(Found::File(file)) => whole(file),
        Ok(Found::Missing) => text(404, "404 page not found"),
        Ok(Found::Forbidden) => text(403, "403 Forbidden"),
        Err(e) => text(500, &format!("500 Internal Server Error: {e}")),
    }
}

/// A file as it is read, up to the length that it has now.
fn whole(file: File) -> Answer {
    let length = file.metadata().map_or(0, |m| m.len());
    let file = tokio::fs::File::from_std(file).take(length);
    let chunks = futures::stream::unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        let n = file.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        chunk.truncate(n);
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))), file))
    });
    let mut out = answer(200, "text/plain; charset=utf-8", Bytes::new());
    *out.body_mut() = StreamBody::new(chunks).boxed_unsync();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn say(root: &Path, path: &str) -> String {
        match find(root, Path::new(path)) {
            Ok(Found::File(f)) => std::io::read_to_string(f).unwrap(),
            Ok(Found::Directory(names)) => page(&names),
            Ok(Found::Missing) => "missing".to_owned(),
            Ok(Found::Forbidden) => "forbidden".to_owned(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn nothing_leads_out_of_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("log");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("a&b.log"), "text").unwrap();
        std::fs::write(root.join("sub/x"), "inner").unwrap();
        for (name, to) in
            [("up", "../secret"), ("far", "/etc/passwd"), ("near", "sub/x"), ("self", "/proc/self/root")]
        {
            std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        }
        let all = ["", "a&b.log", "sub/x", "near", "up", "far", "self", "../secret", "none", "a&b.log/x"];
        let lines: Vec<String> = all.iter().map(|p| format!("{p}: {}", say(&root, p))).collect();
        expect![[r#"
            : <!doctype html>
            <meta name="viewport" content="width=device-width">
            <pre>
            <a href="a%26b.log">a&amp;b.log</a>
            <a href="far">far</a>
            <a href="near">near</a>
            <a href="self">self</a>
            <a href="sub/">sub/</a>
            <a href="up">up</a>
            </pre>

            a&b.log: text
            sub/x: inner
            near: inner
            up: missing
            far: missing
            self: missing
            ../secret: missing
            none: missing
            a&b.log/x: missing"#]]
        .assert_eq(&lines.join("\n"));
    }
}
