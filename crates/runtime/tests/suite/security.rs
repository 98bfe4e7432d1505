//! What a container may not do: capabilities, seccomp, hidden and locked paths, devices, our binary.

use cri::security_profile::ProfileType;
use cri::*;

use crate::world::*;

const MASKED: [&str; 3] = ["/proc/kcore", "/proc/keys", "/proc/scsi"];
const READONLY: [&str; 2] = ["/proc/sys", "/proc/sysrq-trigger"];

#[tokio::test]
async fn capabilities_and_privileges() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let check = async |name: &'static str, change: fn(&mut LinuxContainerSecurityContext)| {
        let wish = Wish {
            name,
            ..shell(
                "grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:' /proc/self/status | cut -f2 | tr '\\n' ' '",
            )
        };
        world.finish(&sandbox, wish.with(move |c| change(security(c)))).await.1
    };
    let none = "0000000000000000";
    assert_eq!(check("default", |_| {}).await, format!("{0} {0} {0} {none} 0 0 ", "00000000a80425fb"));
    let dropped = check("dropped", |s| {
        let words = |w: &str| vec![w.to_owned()];
        s.capabilities = Some(Capability {
            add_capabilities: words("NET_BIND_SERVICE"),
            drop_capabilities: words("ALL"),
            ..Default::default()
        });
        s.no_new_privs = true;
        s.seccomp =
            Some(SecurityProfile { profile_type: ProfileType::RuntimeDefault.into(), ..Default::default() });
    })
    .await;
    assert_eq!(dropped, format!("{0} {0} {0} {none} 1 2 ", "0000000000000400"));
    let user = check("user", |s| s.run_as_user = Some(Int64Value { value: 1000 })).await;
    assert_eq!(user, format!("{none} {none} 00000000a80425fb {none} 0 0 "));
    let ambient = check("ambient", |s| {
        s.run_as_user = Some(Int64Value { value: 1000 });
        s.capabilities =
            Some(Capability { add_ambient_capabilities: vec!["NET_ADMIN".into()], ..Default::default() });
    })
    .await;
    assert_eq!(ambient, "0000000000001000 0000000000001000 00000000a80435fb 0000000000001000 0 0 ");
    let privileged = check("privileged", |s| s.privileged = true).await;
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let ours = status.lines().find_map(|l| l.strip_prefix("CapPrm:\t")).expect("our capabilities");
    assert!(privileged.starts_with(&format!("{ours} {ours} ")), "{privileged}");
}

#[tokio::test]
async fn seccomp_profiles_hold() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let profile = |kind: ProfileType, path: &std::path::Path| SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: path.to_string_lossy().into_owned(),
    };
    let script = "unshare -n true 2>&1; echo $?; chmod 700 /tmp 2>&1; echo $?";
    let admin = || Some(Capability { add_capabilities: vec!["SYS_ADMIN".into()], ..Default::default() });
    let file = world.path("profile.json");
    std::fs::write(&file, r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod","fchmodat","fchmodat2"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#).expect("a profile");
    let (default, unconfined, local) = (
        profile(ProfileType::RuntimeDefault, "".as_ref()),
        profile(ProfileType::Unconfined, "".as_ref()),
        profile(ProfileType::Localhost, &file),
    );
    let run = async |name: &'static str, profile: SecurityProfile, capabilities: Option<Capability>| {
        world
            .finish(
                &sandbox,
                Wish { name, ..shell(script) }.with(move |c| {
                    security(c).seccomp = Some(profile);
                    security(c).capabilities = capabilities;
                }),
            )
            .await
            .1
    };
    assert_eq!(
        run("default", default.clone(), None).await,
        "unshare: unshare(0x40000000): Operation not permitted\n1\n0\n"
    );
    assert_eq!(run("admin", default, admin()).await, "0\n0\n");
    assert_eq!(run("unconfined", unconfined, admin()).await, "0\n0\n");
    let text = run("local", local, admin()).await;
    assert!(text.contains("No space left on device") && text.ends_with("1\n"), "{text}");
    let missing = profile(ProfileType::Localhost, &world.path("missing.json"));
    let refused =
        world.create(&sandbox, shell("true").with(move |c| security(c).seccomp = Some(missing))).await;
    assert!(refused.expect_err("fails closed").message.contains("cannot load seccomp profile"));
}

#[tokio::test]
async fn paths_are_hidden_and_locked() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let script = "exec 2>/dev/null; head -c 1 /proc/keys | wc -c; echo 1 > /proc/sys/kernel/panic; echo $?; echo b > /proc/sysrq-trigger; echo $?; \
                  touch /x; echo $?; touch /sys/x; echo $?; ls /dev | tr '\\n' ' '; cat /dev/null; head -c 2 /dev/zero | wc -c; \
                  ls /sys/fs/cgroup | head -20 | tr '\\n' ' '";
    let wish = shell(script).with(|c| {
        let s = security(c);
        s.masked_paths = MASKED.map(str::to_owned).to_vec();
        s.readonly_paths = READONLY.map(str::to_owned).to_vec();
        s.readonly_rootfs = true;
    });
    let (_, log) = world.finish(&sandbox, wish).await;
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[..5], ["0", "1", "1", "1", "1"], "{log}");
    assert!(
        lines[5]
            .starts_with("core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero")
            || lines[5]
                .starts_with("fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"),
        "{log}"
    );
}

#[tokio::test]
async fn devices_are_an_allow_list() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    // 10:229 is /dev/fuse: made by mknod, it must still not open. /dev/full again under another name does.
    let script = "exec 2>&1; mknod /tmp/fuse c 10 229; echo $?; head -c 1 /tmp/fuse; echo $?; head -c 3 /dev/given | wc -c";
    let wish = shell(script).with(|c| {
        c.devices = vec![Device {
            container_path: "/dev/given".into(),
            host_path: "/dev/zero".into(),
            permissions: "rw".into(),
        }];
    });
    let (_, log) = world.finish(&sandbox, wish).await;
    let seen: Vec<_> = log.lines().collect();
    assert_eq!(
        (seen[0], seen[1], *seen.last().expect("a line")),
        ("0", "head: /tmp/fuse: Operation not permitted", "3"),
        "{log}"
    );
}

#[tokio::test]
async fn our_binary_cannot_be_reached_for_writing() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    // A container whose program is our own executable: /proc/self/exe of the process that becomes it.
    let id = world
        .create(
            &sandbox,
            Wish {
                name: "main",
                command: vec!["/proc/self/exe".into(), "runtime-keeper".into()],
                change: None,
            },
        )
        .await
        .expect("created");
    let _ = world.start(&id).await;
    let before = std::fs::read(env!("CARGO_BIN_EXE_runtime-under-test")).expect("the binary").len();
    let script = "for p in /proc/[0-9]*; do echo x > $p/exe; done 2>&1 | sort | uniq -c | sort -n | tail -1; ls /proc/self/fd | wc -l";
    let (_, log) = world.finish(&sandbox, Wish { name: "attacker", ..shell(script) }).await;
    assert_eq!(
        std::fs::read(env!("CARGO_BIN_EXE_runtime-under-test")).expect("the binary").len(),
        before,
        "{log}"
    );
    // Its three streams and the directory that it reads: nothing inherited.
    assert!(log.ends_with("\n4\n"), "{log}");
}

#[tokio::test]
async fn images_cannot_lead_mounts_astray() {
    let world = World::new().await;
    let root = world.path("images/busybox/rootfs");
    let outside = world.path("outside");
    std::fs::create_dir_all(&outside).expect("a directory");
    std::os::unix::fs::symlink(&outside, root.join("trap")).expect("a link");
    let sandbox = world.sandbox().await;
    let host_path = world.path("data").to_string_lossy().into_owned();
    let mounted = shell("touch /trap/inside; ls /trap").with(move |c| {
        c.mounts = vec![Mount { host_path, container_path: "/trap/deep".into(), ..Default::default() }];
    });
    let (_, log) = world.finish(&sandbox, mounted).await;
    assert!(log.contains("deep"), "{log}");
    assert_eq!(
        std::fs::read_dir(&outside).expect("a directory").count(),
        0,
        "nothing was made outside of the root"
    );
    std::fs::remove_dir(root.join("proc")).expect("removed");
    std::os::unix::fs::symlink("/tmp", root.join("proc")).expect("a link");
    let id = world.create(&sandbox, shell("true")).await.expect("created");
    let error = world.start(&id).await.expect_err("refused");
    assert!(error.message.contains("must be an ordinary directory"), "{error}");
}

#[tokio::test]
async fn volumes_of_the_image_are_writable_where_its_root_is_not() {
    let world = World::new().await;
    let image = world.path("images/busybox");
    std::fs::create_dir_all(image.join("rootfs/kept")).expect("a directory");
    std::fs::write(image.join("rootfs/kept/seed"), "seed").expect("a file");
    let config =
        r#"{"env":["PATH=/bin"],"volumes":["/","/kept","/made/deep","/etc/passwd","/proc","/covered"]}"#;
    std::fs::write(image.join("config.json"), config).expect("a config");
    let covered = world.path("covered");
    std::fs::create_dir_all(&covered).expect("a directory");
    let sandbox = world.sandbox().await;
    let script = "exec 2>&1; cat /kept/seed; for d in / /kept /made/deep /covered /etc; do touch $d/new && echo $d; done; \
                  test -d /proc/self && echo proc; id -un";
    let wish = shell(script).with(move |c| {
        security(c).readonly_rootfs = true;
        let host_path = covered.to_string_lossy().into_owned();
        c.mounts = vec![Mount { host_path, container_path: "/covered".into(), ..Default::default() }];
    });
    let (_, log) = world.finish(&sandbox, wish).await;
    assert!(
        log.starts_with(
            "seedtouch: //new: Read-only file system\n/kept\n/made/deep\n/covered\ntouch: /etc/new: Read-only"
        ),
        "{log}"
    );
    assert!(log.ends_with("proc\nroot\n"), "{log}");
    assert!(world.path("covered/new").exists(), "the pod's mount has the volume's place");
}
