//! The binary's own commands: what stands in the way is told in one sentence before anything is touched, and nothing is
//! left behind.

use client::config::Config;
use client::http_transport::HttpTransport;
use client::{Call, Client, Error, Resource};
use e2e::{BUSYBOX, Cluster, Output, Program, eventually, processes};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// User and group that own nothing.
const NOBODY: &str = "65534";
/// Deeper than any object is.
const DEPTH: usize = 10_000;
/// Larger than any request may be, in bytes.
const TOO_LARGE: usize = 4 << 20;
/// What refused requests may cost the server, in KiB.
const ALLOWANCE: u64 = 64 << 10;

fn ironclad() -> Program {
    Program::from_env("IRONCLAD_BIN")
}

/// Asserts that a command failed with one line that says all of this.
#[track_caller]
fn one_sentence(output: Output, parts: &[&str]) {
    let line = output.line.clone();
    let err = output.fails();
    assert_eq!(err.trim_end().lines().count(), 1, "{line}: {err}");
    for part in parts {
        assert!(err.contains(part), "{line}: {part:?} is not in {err:?}");
    }
}

/// A directory for a test that makes its own data directories.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("ironclad-e2e-").tempdir().expect("a temporary directory")
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_string_lossy().into_owned()
}

#[test]
fn without_root_one_sentence_and_nothing_touched() {
    let dir = scratch();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("opening the directory");
    // Where the build put it, nobody may not look.
    let binary = path(dir.path(), "ironclad");
    fs::copy(std::env::var_os("IRONCLAD_BIN").expect("IRONCLAD_BIN"), &binary).expect("copying the binary");
    fs::set_permissions(&binary, Permissions::from_mode(0o755)).expect("letting others run it");
    let setpriv = Program::at("setpriv").env("HOME", dir.path());
    let as_nobody = |args: &[&str]| {
        let identity = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", &binary];
        setpriv.run(&[&identity, args].concat())
    };
    let data = path(dir.path(), "data");
    one_sentence(as_nobody(&["up", "--data-dir", &data]), &["needs root", "sudo", "--no-node"]);
    one_sentence(as_nobody(&["image", "list", "--data-dir", &data]), &["needs root", "sudo"]);
    one_sentence(as_nobody(&["down", "--data-dir", &data]), &["there is no cluster in"]);
    assert!(!Path::new(&data).exists());
    let check = as_nobody(&["check"]);
    assert!(check.out.contains("missing: A node needs root"), "{}", check.out);
    check.fails();
    // The cluster of another user.
    fs::create_dir(&data).expect("a data directory");
    for file in ["cluster.json", "lock"] {
        fs::write(Path::new(&data).join(file), "{}").expect("a file of root's");
        fs::set_permissions(Path::new(&data).join(file), Permissions::from_mode(0o600)).expect("closing it");
    }
    one_sentence(
        as_nobody(&["up", "--no-node", "--data-dir", &data]),
        &["another user's", "sudo", "--data-dir"],
    );
    one_sentence(as_nobody(&["kubeconfig", "--data-dir", &data]), &["another user's", "sudo"]);
    one_sentence(as_nobody(&["down", "--purge", "--data-dir", &data]), &["another user's", "sudo"]);
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_touched() {
    let dir = scratch();
    let data = path(dir.path(), "data");
    let up = |args: &[&str]| ironclad().run(&[&["up", "--data-dir", &data], args].concat());
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = busy.local_addr().expect("its address").to_string();
    one_sentence(up(&["--listen", &address]), &[&address, "in use by another program", "--listen"]);
    one_sentence(up(&["--listen", "192.0.2.1:7000"]), &["not an address of this machine", "--listen"]);
    assert!(up(&["--listen", "there"]).fails().contains("invalid value 'there' for '--listen"));
    let config = path(dir.path(), "config.yaml");
    one_sentence(up(&["--config", &config]), &["cannot read the config file", "No such file"]);
    fs::write(&config, "noNodes: true\n").expect("a config file");
    one_sentence(up(&["--config", &config]), &["unknown field `noNodes`", "`noNode`"]);
    fs::write(&config, "listen: [\n").expect("a config file");
    one_sentence(up(&["--config", &config]), &["neither YAML nor JSON"]);
    assert!(!Path::new(&data).exists(), "the data directory was made");
    fs::create_dir(&data).expect("a data directory");
    fs::write(Path::new(&data).join("cluster.json"), "{\"listen\"").expect("a damaged file");
    one_sentence(up(&["--no-node"]), &["cluster.json is damaged", "ironclad down --purge"]);
    one_sentence(ironclad().run(&["down", "--data-dir", &data]), &["cluster.json is damaged"]);
    // As the message says.
    ironclad().run(&["down", "--purge", "--data-dir", &data]).ok();
    assert!(!Path::new(&data).exists());
}

#[test]
fn down_removes_clusters_and_nothing_else() {
    let dir = scratch();
    let missing = path(dir.path(), "missing");
    one_sentence(ironclad().run(&["down", "--data-dir", &missing]), &["there is no cluster in"]);
    let home = path(dir.path(), "home");
    fs::create_dir(&home).expect("a folder of the user's");
    fs::write(Path::new(&home).join("letter"), "dear").expect("a file of the user's");
    one_sentence(ironclad().run(&["down", "--purge", "--data-dir", &home]), &["there is no cluster in"]);
    assert!(Path::new(&home).join("letter").exists());
    // A cluster in a folder with other things.
    let c = Cluster::control_plane();
    let letter = c.data_dir().join("letter");
    fs::write(&letter, "dear").expect("a file of the user's");
    assert!(c.ironclad(&["down", "--purge"]).ok().contains("not touched: 1"));
    assert!(letter.exists());
    assert_eq!(fs::read_dir(c.data_dir()).map_or(0, Iterator::count), 1);
}

/// Whatever of the machine bears the cluster's id or its data directory.
fn traces(data: &Path, id: &str) -> Vec<String> {
    let data = data.to_string_lossy().into_owned();
    let mut found: Vec<String> =
        processes().into_iter().filter(|p| p.line.contains(&data)).map(|p| p.line).collect();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    found.extend(mounts.lines().filter(|l| l.contains(&data) || l.contains(id)).map(str::to_owned));
    for folder in ["/sys/class/net", "/run/ironclad", "/run/netns"] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.map(|e| e.path().display().to_string()).filter(|p| p.contains(id)));
    }
    let tables = Program::at("nft").run(&["list", "tables"]).out;
    found.extend(tables.lines().filter(|l| l.contains(id)).map(str::to_owned));
    found
}

/// Control groups of pods with these uids.
fn groups(uids: &[&str]) -> Vec<String> {
    let find = Program::at("find").run(&["/sys/fs/cgroup", "-type", "d", "-name", "pod*"]).out;
    find.lines().filter(|l| uids.iter().any(|uid| l.contains(uid))).map(str::to_owned).collect()
}

#[test]
fn stopping_leaves_containers_and_purging_leaves_nothing() {
    let mut c = Cluster::with_node();
    let data = c.data_dir();
    c.kubectl(&["create", "deployment", "web", "--image=ironclad.local/demo:latest", "--replicas=2"]).ok();
    c.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=8080"]).ok();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    let uids = c.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]).ok();
    let uids: Vec<&str> = uids.split(' ').collect();
    let running = || processes().iter().filter(|p| uids.iter().any(|uid| p.groups.contains(uid))).count();
    let runtime = c.runtime().expect("a runtime");
    let ids = fs::read_dir("/run/ironclad").into_iter().flatten().flatten();
    let mut ids = ids.map(|e| e.file_name().to_string_lossy().into_owned());
    let id = ids.find(|id| owns(&c, id)).expect("the cluster's id");
    assert_eq!(c.stop(), Some(0), "SIGTERM");
    assert_eq!(running(), 2);
    assert!(Path::new(&format!("/proc/{}", runtime.pid)).exists());
    c.up();
    assert_eq!(c.interrupt(), Some(0), "Ctrl-C");
    assert_eq!(running(), 2);
    assert!(!traces(&data, &id).is_empty() && !groups(&uids).is_empty());
    c.ironclad(&["down"]).ok();
    assert_eq!(running(), 0);
    c.up();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    assert_eq!(running(), 2);
    // Also while it runs.
    c.ironclad(&["down", "--purge"]).ok();
    assert_eq!(traces(&data, &id), Vec::<String>::new());
    assert_eq!(groups(&uids), Vec::<String>::new());
    assert_eq!(running(), 0);
    assert!(!data.exists());
}

/// Whether the bridge with this id belongs to the cluster: its runtime's socket is below the folder of that name.
fn owns(c: &Cluster, id: &str) -> bool {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let Some(runtime) = c.runtime() else { return false };
    let Some(inode) = sockets.lines().find(|l| l.ends_with(&format!("/run/ironclad/{id}/runtime.sock")))
    else {
        return false;
    };
    let inode = format!("socket:[{}]", inode.split_whitespace().nth(6).unwrap_or_default());
    let fds = fs::read_dir(format!("/proc/{}/fd", runtime.pid)).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to.to_string_lossy() == inode)
}

#[test]
fn two_clusters_side_by_side() {
    let (a, b) = (Cluster::with_node(), Cluster::with_node());
    for c in [&a, &b] {
        c.kubectl(&["create", "deployment", "web", "--image=ironclad.local/demo:latest"]).ok();
        c.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=8080"]).ok();
    }
    let address = |c: &Cluster| {
        c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
        let ip = c.kubectl(&["get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok();
        let pod = c.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]).ok();
        (format!("{ip}:80"), pod)
    };
    let (of_a, of_b) = (address(&a), address(&b));
    assert_ne!(of_a.0, of_b.0);
    for (address, pod) in [&of_a, &of_b] {
        eventually("the page of its own pod", || {
            e2e::http_get(address, "/")
                .and_then(|p| if p.contains(&format!("pod: {pod}")) { Ok(()) } else { Err(p) })
        });
    }
    let taken = b.ironclad(&["up"]);
    one_sentence(taken, &["is in use by process", "--data-dir"]);
    drop(a);
    eventually("the other one goes on", || {
        e2e::http_get(&of_b.0, "/").and_then(|p| if p.contains("pod: web-") { Ok(()) } else { Err(p) })
    });
}

#[test]
fn images_from_the_command_line() {
    let c = Cluster::with_node();
    c.import_busybox();
    let (name, tag) = BUSYBOX.rsplit_once(':').unwrap();
    let listed = |c: &Cluster| {
        let out = c.ironclad(&["image", "list"]).ok();
        out.lines().any(|l| l.split_whitespace().take(2).eq([name, tag]))
    };
    assert!(listed(&c));
    c.ironclad(&["image", "remove", BUSYBOX]).ok();
    assert!(!listed(&c));
    let nowhere = c.scratch().join("nowhere");
    let other = nowhere.to_string_lossy().into_owned();
    one_sentence(ironclad().run(&["image", "list", "--data-dir", &other]), &["there is no cluster in"]);
    assert!(!nowhere.exists(), "looking makes nothing");
    one_sentence(c.ironclad(&["image", "remove", BUSYBOX]), &["there is no image", "ironclad image list"]);
    let noise: String =
        (0..40_000_u32).map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 24) as u8 % 90)).collect();
    for (name, content) in [("noise", noise.as_str()), ("short", "hi"), ("empty", "")] {
        let file = c.file(name, content);
        one_sentence(c.ironclad(&["image", "import", &file]), &["cannot import", name]);
    }
    one_sentence(c.ironclad(&["image", "import", "/nonexistent.tar"]), &["No such file"]);
    one_sentence(c.ironclad(&["image", "import", "/tmp"]), &["/tmp is a directory", "tar -C /tmp"]);
    let (data, archive) = (c.data_dir().to_string_lossy().into_owned(), c.scratch().join("busybox.tar"));
    let piped = format!("cat {} | $IRONCLAD_BIN image import - --data-dir {data}", archive.display());
    assert_eq!(Program::named("sh").run(&["-c", &piped]).ok(), format!("{BUSYBOX}\n"));
    one_sentence(c.ironclad(&["image", "pull", "x:y:z"]), &["invalid reference format"]);
    c.import_busybox();
    c.kubectl(&["run", "box", &format!("--image={BUSYBOX}"), "--restart=Never", "--", "true"]).ok();
    c.wait_phase("box", "Succeeded");
}

#[test]
fn version_completion_and_kubeconfig() {
    assert!(ironclad().run(&["version"]).ok().contains("Kubernetes API v1.37"));
    assert!(ironclad().run(&["completion", "bash"]).ok().contains("complete -F _ironclad"));
    let check = ironclad().run(&["check"]).ok();
    assert!(check.contains("can run here") || check.contains("has everything"), "{check}");
    let c = Cluster::control_plane();
    assert_eq!(
        c.ironclad(&["kubeconfig"]).ok(),
        fs::read_to_string(c.data_dir().join("kubeconfig")).expect("kubeconfig")
    );
    let other = "apiVersion: v1\nkind: Config\ncurrent-context: work\nclusters:\n- name: work\n  cluster: {server: 'https://work:6443'}\ncontexts:\n- name: work\n  context: {cluster: work, user: me}\nusers:\n- name: me\n  user: {token: secret}\n";
    let file = c.file("merged", other);
    c.ironclad(&["kubeconfig", "--write", &file]).ok();
    let kubectl = Program::from_env("KUBECTL_BIN").env("KUBECONFIG", &file).env("HOME", c.scratch());
    let contexts = kubectl.run(&["config", "get-contexts", "-o", "name"]).ok();
    assert_eq!(contexts, "ironclad\nwork\n");
    assert!(kubectl.run(&["config", "view", "--raw"]).ok().contains("token: secret"));
    kubectl.run(&["--context", "ironclad", "get", "namespaces"]).ok();
}

fn memory(c: &Cluster) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().expect("VmRSS")
}

fn nested(kind: &str) -> String {
    match kind {
        "json" => format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH)),
        "json list" => format!("{{\"a\":{}{}}}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
        "yaml" => format!("a: {}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
        _ => (0..DEPTH / 10).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
    }
}

#[test]
fn hostile_bodies_are_refused_and_cost_nothing() {
    let c = Cluster::control_plane();
    let kubeconfig = fs::read_to_string(c.data_dir().join("kubeconfig")).expect("the kubeconfig");
    let decoded = meta::yaml::decode(&kubeconfig).expect("YAML");
    let config = Config::from_kubeconfig(&decoded.value).expect("a context");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    let client = Client::new(Arc::new(HttpTransport::new(&config).expect("TLS")), "e2e");
    let maps = Resource::of::<api::core::v1::ConfigMap>();
    let post = |content_type: &'static str, body: String| {
        let call = Call { content_type, body: body.into(), ..Call::create(&maps, "default", Vec::new()) };
        match runtime.block_on(client.send(call)) {
            Err(Error::Api(status)) => (status.code, status.message),
            other => panic!("{content_type}: {other:?}"),
        }
    };
    let before = memory(&c);
    for (content_type, kind) in [
        ("application/json", "json"),
        ("application/json", "json list"),
        ("application/yaml", "yaml"),
        ("application/yaml", "yaml block"),
        ("application/yaml", "json"),
    ] {
        let (code, message) = post(content_type, nested(kind));
        assert!((400..500).contains(&code), "{content_type}, {kind}: {code} {message}");
    }
    let bomb: String =
        (1..10).map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 9].join(","))).collect();
    let (code, message) = post("application/yaml", format!("l0: &l0 [x,x,x,x,x,x,x,x,x]\n{bomb}"));
    assert!((400..500).contains(&code), "aliases: {code} {message}");
    let large = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"l\"}},\"data\":{{\"x\":\"{}\"}}}}",
        "x".repeat(TOO_LARGE)
    );
    let (code, message) = post("application/json", large);
    assert_eq!(code, 413, "{message}");
    let value = c.file("large", &"x".repeat((1 << 20) + 1));
    let refused = c.kubectl(&["create", "configmap", "large", &format!("--from-file=x={value}")]).fails();
    assert!(refused.contains("Too long: may not be more than 1048576 bytes"), "{refused}");
    c.kubectl(&["create", "configmap", "fine", "--from-literal=a=b"]).ok();
    let after = memory(&c);
    assert!(after < before + ALLOWANCE, "{before} KiB before, {after} KiB after");
}

#[test]
fn a_full_disk_is_told_before_the_start() {
    let dir = scratch();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).expect("a directory to mount on");
    rustix::mount::mount("tmpfs", &disk, "tmpfs", rustix::mount::MountFlags::empty(), c"size=8m")
        .expect("mounting");
    let data = path(&disk, "data");
    let told = ironclad().run(&["up", "--no-node", "--data-dir", &data]);
    let touched = Path::new(&data).exists();
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::DETACH).expect("unmounting");
    one_sentence(told, &["MiB are free where", "make room", "--data-dir"]);
    assert!(!touched);
}
