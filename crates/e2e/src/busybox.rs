//! An image with a shell, made of the machine's static busybox: what `docker save` would write.

use image::Digest;
use serde_json::json;
use std::path::Path;

/// The image's name.
pub const IMAGE: &str = "localhost/busybox:1";

/// Programs that busybox is called by.
const APPLETS: &[&str] = &[
    "sh", "cat", "ls", "echo", "sleep", "touch", "mkdir", "rm", "ps", "id", "env", "wget", "nslookup",
    "ping", "tar", "hostname", "true", "false", "kill", "date", "df", "mount", "stat", "test", "head",
    "tail", "grep", "dd", "nc", "httpd", "seq", "vi", "ip", "yes", "printf", "chmod", "chown", "ln", "find",
    "wc", "sync", "trap", "stty", "tty",
];

fn append(
    b: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    path: &str,
    mode: u32,
    link: &str,
    data: &[u8],
) {
    let mut h = tar::Header::new_gnu();
    h.set_entry_type(kind);
    h.set_mode(mode);
    h.set_uid(0);
    h.set_gid(0);
    h.set_mtime(0);
    h.set_size(data.len() as u64);
    let added = match link {
        "" => b.append_data(&mut h, path, data),
        target => b.append_link(&mut h, path, target),
    };
    added.expect("writing into memory");
}

fn layer() -> Vec<u8> {
    let busybox = std::fs::read("/usr/bin/busybox").or_else(|_| std::fs::read("/bin/busybox"));
    let busybox = busybox.expect("busybox: `cargo xtask setup` installs it");
    let mut b = tar::Builder::new(Vec::new());
    for dir in ["bin", "etc", "proc", "sys", "dev", "root", "var"] {
        append(&mut b, tar::EntryType::Directory, dir, 0o755, "", b"");
    }
    append(&mut b, tar::EntryType::Directory, "tmp", 0o1777, "", b"");
    append(
        &mut b,
        tar::EntryType::Regular,
        "etc/passwd",
        0o644,
        "",
        b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n",
    );
    append(&mut b, tar::EntryType::Regular, "etc/group", 0o644, "", b"root:x:0:\napp:x:1000:\n");
    append(&mut b, tar::EntryType::Regular, "bin/busybox", 0o755, "", &busybox);
    for applet in APPLETS {
        append(&mut b, tar::EntryType::Symlink, &format!("bin/{applet}"), 0o777, "busybox", b"");
    }
    b.into_inner().expect("writing into memory")
}

/// Writes the archive.
pub fn archive(to: &Path) {
    archive_of(&layer(), IMAGE, to);
}

/// Writes an archive of one layer.
pub(crate) fn archive_of(layer: &[u8], name: &str, to: &Path) {
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).to_string()]}});
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut b = tar::Builder::new(Vec::new());
    append(&mut b, tar::EntryType::Regular, "layer.tar", 0o644, "", layer);
    append(&mut b, tar::EntryType::Regular, "config.json", 0o644, "", config.to_string().as_bytes());
    append(&mut b, tar::EntryType::Regular, "manifest.json", 0o644, "", manifest.to_string().as_bytes());
    std::fs::write(to, b.into_inner().expect("writing into memory")).expect("writing the archive");
}
