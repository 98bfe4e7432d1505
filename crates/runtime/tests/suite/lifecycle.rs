//! Create, start, end, remove; exit codes, logs, exec, environment, users.

use cri::*;

use crate::world::*;

#[tokio::test]
async fn a_container_runs_to_its_end() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let (status, log) = world.finish(&sandbox, shell("echo out; echo err >&2; printf rest; exit 7")).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (7, "Error"));
    assert!(status.started_at <= status.finished_at && status.created_at <= status.started_at);
    assert!(log.contains("out\n") && log.contains("err\n") && log.contains("rest"), "{log:?}");
    let raw = world.raw_log("main");
    assert!(
        raw.lines().any(|l| l.ends_with("Z stdout F out"))
            && raw.lines().any(|l| l.ends_with("Z stderr F err")),
        "{raw}"
    );
    let remove = |id: String| world.client.remove_container(RemoveContainerRequest { container_id: id });
    remove(status.id.clone()).await.expect("removed");
    remove(status.id.clone()).await.expect("removing again is no error");
    let gone = world
        .client
        .container_status(ContainerStatusRequest { container_id: status.id, verbose: false })
        .await;
    assert!(gone.expect_err("gone").is_not_found());
    let list = world.client.list_containers(Default::default()).await.expect("a list");
    assert_eq!(list.containers, []);
}

#[tokio::test]
async fn stopping_asks_first_and_kills_then() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let polite =
        world.launch(&sandbox, shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")).await;
    world.wait_log("main", "ready").await;
    world
        .client
        .stop_container(StopContainerRequest { container_id: polite.clone(), timeout: 20 })
        .await
        .expect("stopped");
    assert_eq!(world.status(&polite).await.exit_code, 3);
    let mut wish = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    wish.name = "stubborn";
    let stubborn = world.launch(&sandbox, wish).await;
    world.wait_log("stubborn", "ready").await;
    world
        .client
        .stop_container(StopContainerRequest { container_id: stubborn.clone(), timeout: 1 })
        .await
        .expect("stopped");
    assert_eq!(world.status(&stubborn).await.exit_code, 137);
    let stop = StopPodSandboxRequest { pod_sandbox_id: sandbox.0.clone() };
    world.client.stop_pod_sandbox(stop.clone()).await.expect("stopped");
    world.client.stop_pod_sandbox(stop).await.expect("stopping again is no error");
    world
        .client
        .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: sandbox.0 })
        .await
        .expect("removed");
    assert_eq!(world.client.list_pod_sandbox(Default::default()).await.expect("a list").items, []);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_start_error() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world
        .create(&sandbox, Wish { name: "main", command: vec!["nothing-like-it".into()], change: None })
        .await
        .expect("created");
    let error = world.start(&id).await.expect_err("no such program");
    assert!(
        error.message.contains("exec: \"nothing-like-it\": executable file not found in $PATH"),
        "{error}"
    );
    let status = world.status(&id).await;
    assert_eq!(
        (status.exit_code, status.reason.as_str(), status.state()),
        (128, "StartError", ContainerState::ContainerExited)
    );
}

#[tokio::test]
async fn commands_run_inside() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world
        .launch(
            &sandbox,
            shell("exec sleep 1000").with(|c| {
                c.envs = vec![KeyValue { key: "GREETING".into(), value: "hello there".into() }];
                c.working_dir = "/made/for/it".into();
            }),
        )
        .await;
    let (code, out, err) = world.exec(&id, "echo $GREETING $FROM_IMAGE; pwd; echo oops >&2; exit 5").await;
    assert_eq!((code, out.as_str(), err.as_str()), (5, "hello there 1\n/made/for/it\n", "oops\n"));
    let (_, out, _) =
        world.exec(&id, "ls /proc | grep -E '^[0-9]+$' | head -1; cat /proc/1/cmdline | tr '\\0' ' '").await;
    assert_eq!(out, "1\nsleep 1000 ");
    let cmd = ["sleep", "100"].map(str::to_owned).to_vec();
    let late = world.client.exec_sync(ExecSyncRequest { container_id: id.clone(), cmd, timeout: 1 }).await;
    assert_eq!(late.expect_err("too late").code, Code::DeadlineExceeded);
    let cmd = vec!["nothing-like-it".to_owned()];
    let missing = world.client.exec_sync(ExecSyncRequest { container_id: id.clone(), cmd, timeout: 1 }).await;
    assert!(missing.expect_err("missing").message.contains("executable file not found in $PATH"));
    let (code, out, _) = world.exec(&id, "dd if=/dev/zero bs=1M count=20 2>/dev/null").await;
    assert_eq!((code, out.len()), (0, EXEC_OUTPUT_LIMIT));
}

#[tokio::test]
async fn users_by_number_and_name() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let check = async |name: &'static str, change: fn(&mut LinuxContainerSecurityContext)| {
        let mut wish = shell("id -u; id -g; id -G; echo $HOME; touch /dev/stdout && echo ok > /dev/stdout")
            .with(move |c| change(security(c)));
        wish.name = name;
        let (status, log) = world.finish(&sandbox, wish).await;
        (log.lines().collect::<Vec<_>>().join("|"), status.user.and_then(|u| u.linux).map(|u| (u.uid, u.gid)))
    };
    assert_eq!(check("root", |_| {}).await, ("0|0|0|/root|ok".into(), Some((0, 0))));
    assert_eq!(
        check("number", |s| s.run_as_user = Some(Int64Value { value: 1000 })).await,
        ("1000|1000|1000 33|/home/app|ok".into(), Some((1000, 1000)))
    );
    assert_eq!(
        check("name", |s| {
            s.run_as_username = "app".into();
            s.run_as_group = Some(Int64Value { value: 50 });
            s.supplemental_groups = vec![77];
            s.supplemental_groups_policy = SupplementalGroupsPolicy::Strict.into();
        })
        .await,
        ("1000|50|50 77|/home/app|ok".into(), Some((1000, 50)))
    );
}

#[tokio::test]
async fn mounts_and_logs() {
    let world = World::new().await;
    let sandbox = world
        .sandbox_with(|c| {
            c.dns_config = Some(DnsConfig {
                servers: vec!["10.96.0.10".into()],
                searches: vec!["a.b".into(), "c".into()],
                options: vec!["ndots:5".into()],
            })
        })
        .await;
    let (data, file) = (world.path("data"), world.path("file"));
    std::fs::create_dir_all(&data).expect("a directory");
    std::fs::write(&file, "text").expect("a file");
    let wish = shell("exec 2>&1; cat /etc/resolv.conf /etc/hostname; cat /deep/er/file; echo; echo new > /data/x; \
                      echo no > /deep/er/file; echo code $?; ls -l /dev/shm | wc -l; mount | grep -c /dev/shm").with(move |c| {
        let mount = |from: &std::path::Path, to: &str, readonly| Mount {
            host_path: from.to_string_lossy().into_owned(), container_path: to.into(), readonly, ..Default::default()
        };
        c.mounts = vec![mount(&file, "/deep/er/file", true), mount(&data, "/data", false)];
    });
    let (_, log) = world.finish(&sandbox, wish).await;
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a hostname");
    assert!(
        log.starts_with(&format!("search a.b c\nnameserver 10.96.0.10\noptions ndots:5\n{hostname}text\n")),
        "{log}"
    );
    assert!(log.contains("Read-only file system\n") && log.contains("code 1\n"), "{log}");
    assert_eq!(std::fs::read_to_string(world.path("data/x")).expect("written"), "new\n");
}

#[tokio::test]
async fn logs_go_on_in_a_new_file() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world
        .launch(&sandbox, shell("while read line; do echo got $line; done").with(|c| c.stdin = true))
        .await;
    let _ = &id;
    let wish =
        Wish { name: "talker", ..shell("echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two") };
    let talker = world.launch(&sandbox, wish).await;
    world.wait_log("talker", "one").await;
    std::fs::rename(world.path("logs/talker.log"), world.path("logs/talker.log.1")).expect("renamed");
    world
        .client
        .reopen_container_log(ReopenContainerLogRequest { container_id: talker.clone() })
        .await
        .expect("reopened");
    world.exec(&talker, "touch /go").await;
    world.wait_exited(&talker).await;
    assert_eq!(world.log("talker"), "two\n");
}

#[tokio::test]
async fn pods_share_processes_if_they_want() {
    let world = World::new().await;
    let sandbox = world.sandbox_with(|c| set_namespaces(c, |o| o.pid = NamespaceMode::Pod.into())).await;
    let first = world.launch(&sandbox, shell("exec sleep 4711")).await;
    let (_, log) = world.finish(&sandbox, Wish { name: "other", ..shell("ps; echo $$") }).await;
    assert!(log.contains("sleep 4711"), "{log}");
    world
        .client
        .stop_container(StopContainerRequest { container_id: first.clone(), timeout: 0 })
        .await
        .expect("stopped");
    assert_eq!(world.status(&first).await.exit_code, 137);
}

#[tokio::test]
async fn images_serve_as_volumes() {
    let world = World::new().await;
    let root = world.path("images/data/rootfs/sub");
    std::fs::create_dir_all(&root).expect("a directory");
    std::fs::write(root.join("file"), "from the image\n").expect("a file");
    let sandbox = world.sandbox().await;
    let wish = shell("exec 2>&1; cat /whole/sub/file /part/file; touch /whole/x").with(|c| {
        let image = Some(ImageSpec { image: "data".into(), ..Default::default() });
        let whole = Mount { container_path: "/whole".into(), image, readonly: true, ..Default::default() };
        let part = Mount { container_path: "/part".into(), image_sub_path: "sub".into(), ..whole.clone() };
        c.mounts = vec![whole, part];
    });
    let (_, log) = world.finish(&sandbox, wish).await;
    assert_eq!(log, "from the image\nfrom the image\ntouch: /whole/x: Read-only file system\n");
}

#[tokio::test]
async fn debuggers_see_the_processes_of_their_target() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let target = world.launch(&sandbox, shell("exec sleep 4712")).await;
    let wish = Wish {
        name: "debugger",
        ..shell("ps | grep -c 'sleep 4712$'; cat /proc/1/root/etc/hostname >/dev/null && echo root")
    };
    let (status, log) = world
        .finish(
            &sandbox,
            wish.with(move |c| {
                let options = security(c).namespace_options.get_or_insert_default();
                options.pid = NamespaceMode::Target.into();
                options.target_id = target;
            }),
        )
        .await;
    assert_eq!((status.exit_code, log.lines().next()), (0, Some("1")), "{log}");
}

#[tokio::test]
async fn mounts_travel_both_ways_where_asked() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let shared = world.path("shared");
    std::fs::create_dir_all(shared.join("sub")).expect("a directory");
    let host_path = shared.to_string_lossy().into_owned();
    let wish = |name, script: &str| {
        let host_path = host_path.clone();
        Wish { name, ..shell(script) }.with(move |c| {
            let propagation = MountPropagation::PropagationBidirectional.into();
            c.mounts = vec![Mount {
                host_path,
                container_path: "/shared".into(),
                propagation,
                ..Default::default()
            }];
            security(c).capabilities =
                Some(Capability { add_capabilities: vec!["SYS_ADMIN".into()], ..Default::default() });
        })
    };
    let refused = world.create(&sandbox, wish("main", "true")).await.expect("created");
    let private = std::fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    if !private.lines().any(|l| l.split(' ').nth(4) == Some("/") && l.contains(" shared:")) {
        let error = world.start(&refused).await.expect_err("the node's root is not shared");
        assert!(error.message.ends_with("but it is not a shared mount"), "{error}");
    }
    rustix::mount::mount_bind(&shared, &shared).expect("a mount");
    rustix::mount::mount_change(&shared, rustix::mount::MountPropagationFlags::SHARED).expect("shared");
    let (_, log) = world
        .finish(
            &sandbox,
            wish(
                "mounter",
                "mount -t tmpfs t /shared/sub && echo there > /shared/sub/file && echo ok; sleep 0.1",
            ),
        )
        .await;
    let seen = std::fs::read_to_string(shared.join("sub/file"));
    let _ = rustix::mount::unmount(shared.join("sub"), rustix::mount::UnmountFlags::DETACH);
    let _ = rustix::mount::unmount(&shared, rustix::mount::UnmountFlags::DETACH);
    assert_eq!((log.as_str(), seen.ok().as_deref()), ("ok\n", Some("there\n")));
}
