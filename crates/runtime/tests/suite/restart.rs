//! kill -9 of the runtime: containers live, output flows, ends are known; and purge leaves nothing.

use cri::*;

use crate::world::*;

#[tokio::test]
async fn containers_outlive_the_runtime() {
    let mut world = World::with_network().await;
    let (id, config, ip) = world.networked(|_| {}).await;
    let sandbox = (id, config);
    let script = "n=0; while [ ! -e /stop ]; do n=$((n+1)); echo $n; sleep 0.01; done; exit 9";
    let lives = world.launch(&sandbox, shell(script)).await;
    let dies = world
        .launch(
            &sandbox,
            Wish {
                name: "dies",
                ..shell("while [ ! -e /data/go ]; do sleep 0.01; done; echo bye; exit 6").with({
                    let host_path = world.path("data").to_string_lossy().into_owned();
                    move |c| {
                        c.mounts =
                            vec![Mount { host_path, container_path: "/data".into(), ..Default::default() }]
                    }
                })
            },
        )
        .await;
    world.wait_log("main", "5\n").await;
    world.crash();
    std::fs::write(world.path("data/go"), "").expect("a file");
    let exit = world.path(&format!("state/containers/{dies}/exit"));
    wait("the keeper writes the end down", || async { exit.exists() }).await;
    world.restart().await;
    let status = world.wait_exited(&dies).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (6, "Error"));
    wait("its last words are in the log", || async { world.log("dies") == "bye\n" }).await;
    assert_eq!(world.status(&lives).await.state(), ContainerState::ContainerRunning);
    let before = world.log("main").lines().count();
    wait("output goes on", || async { world.log("main").lines().count() > before + 5 }).await;
    let (code, _, _) = world.exec(&lives, "touch /stop").await;
    assert_eq!(code, 0);
    assert_eq!(world.wait_exited(&lives).await.exit_code, 9);
    let log = world.log("main");
    let numbers: Vec<u32> = log.lines().filter_map(|l| l.parse().ok()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>(), "nothing lost, nothing twice");
    let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox.0.clone(), verbose: false };
    let status = world.client.pod_sandbox_status(request).await.expect("a status").status.expect("a status");
    assert_eq!(status.network.map(|n| n.ip), Some(ip.clone()));
    let (_, _, fresh) = world.networked(|_| {}).await;
    assert_ne!(fresh, ip);
}

#[tokio::test]
async fn containers_outlive_the_keeper() {
    let mut world = World::new().await;
    let sandbox = world.sandbox().await;
    let script = "echo up; while [ ! -e /talk ]; do sleep 0.02; done; echo talks; \
                  while [ ! -e /stop ]; do sleep 0.02; done; echo bye; exit 4";
    let id = world.launch(&sandbox, shell(script)).await;
    world.wait_log("main", "up").await;
    let first = keeper_of(&world).expect("a keeper");
    rustix::process::kill_process(first, rustix::process::Signal::KILL).expect("killed");
    // The next keeper is given the streams, so that even the runtime may go now.
    wait("another keeper stands in", || async { keeper_of(&world).is_some_and(|next| next != first) }).await;
    let (code, _, _) = world.exec(&id, "touch /talk").await;
    assert_eq!(code, 0);
    world.wait_log("main", "talks").await;
    world.crash();
    world.restart().await;
    assert_eq!(world.status(&id).await.state(), ContainerState::ContainerRunning);
    let (code, _, _) = world.exec(&id, "touch /stop").await;
    assert_eq!(code, 0);
    let status = world.wait_exited(&id).await;
    // Known where the kernel remembers (6.15); 255 and "Unknown" elsewhere.
    let seen = (status.exit_code, status.reason.as_str());
    assert!(seen == (4, "Error") || seen == (255, "Unknown"), "{seen:?}");
    assert_eq!(world.log("main"), "up\ntalks\nbye\n");
}

#[tokio::test]
async fn containers_whose_output_nobody_held_are_ended() {
    let mut world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world.launch(&sandbox, shell("echo up; exec sleep 1000")).await;
    world.wait_log("main", "up").await;
    world.crash();
    let keeper = keeper_of(&world).expect("a keeper");
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).expect("killed");
    world.restart().await;
    let status = world.wait_exited(&id).await;
    assert!([137, 255].contains(&status.exit_code), "{}", status.exit_code);
}

/// The keeper, found by the socket that it listens on.
fn keeper_of(world: &World) -> Option<rustix::process::Pid> {
    let stderr = world.path("state/keeper.log");
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) =
            entry.file_name().to_str().and_then(|n| n.parse().ok()).and_then(rustix::process::Pid::from_raw)
        else {
            continue;
        };
        if std::fs::read_link(entry.path().join("fd/2")).is_ok_and(|path| path == stderr) {
            return Some(pid);
        }
    }
    None
}

#[tokio::test]
async fn purge_leaves_nothing() {
    let mut world = World::with_network().await;
    let (id, config, _) = world.networked(|c| set_namespaces(c, |o| o.pid = NamespaceMode::Pod.into())).await;
    let sandbox = (id, config);
    world.launch(&sandbox, shell("sleep 1000 & sleep 1000")).await;
    world.sandbox().await;
    assert!(!world.run_server("purge"), "a served instance is not purged");
    world.crash();
    assert!(world.leftovers().len() >= 4);
    assert!(world.run_server("purge"));
    assert_eq!(world.leftovers(), Vec::<String>::new());
    assert!(!world.path("state").exists());
    assert_eq!(std::fs::read_dir(world.path("root/layers")).map_or(0, Iterator::count), 0);
    world.restart().await;
}

#[tokio::test]
async fn terminals_outlive_the_runtime() {
    let mut world = World::new().await;
    let sandbox = world.sandbox().await;
    let script = "echo up; while [ ! -e /go ]; do sleep 0.02; done; test -t 0 && echo still; exit 3";
    let id = world.launch(&sandbox, shell(script).with(|c| (c.tty, c.stdin) = (true, true))).await;
    world.wait_log("main", "up").await;
    world.crash();
    world.restart().await;
    let (code, _, _) = world.exec(&id, "touch /go").await;
    assert_eq!(code, 0);
    assert_eq!(world.wait_exited(&id).await.exit_code, 3);
    assert!(world.log("main").contains("still"), "{}", world.log("main"));
}

#[tokio::test]
async fn crashes_at_any_moment_leave_nothing_behind() {
    const ROUNDS: u64 = 12;
    let mut world = World::with_network().await;
    for round in 0..ROUNDS {
        let config = world.sandbox_config(|c| set_namespaces(c, |o| o.network = NamespaceMode::Pod.into()));
        let life = async {
            let request = RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
            let id = world.client.run_pod_sandbox(request).await?.pod_sandbox_id;
            let sandbox = (id.clone(), config.clone());
            let container = world.create(&sandbox, shell("exec sleep 1000")).await?;
            world.start(&container).await?;
            world.client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id }).await
        };
        // Later in the life of a pod with every round.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1 + round * 4), life).await;
        world.crash();
        world.restart().await;
    }
    let known = world.client.list_pod_sandbox(Default::default()).await.expect("a list").items;
    for sandbox in known {
        let request = RemovePodSandboxRequest { pod_sandbox_id: sandbox.id };
        world.client.remove_pod_sandbox(request).await.expect("removed");
    }
    assert_eq!(world.client.list_containers(Default::default()).await.expect("a list").containers, []);
    // The bridge and its table stay; interfaces go in their own time.
    let bridge = format!("/sys/class/net/ic-{}/brif", world.instance);
    let only_bridge = || {
        let left = world
            .leftovers()
            .into_iter()
            .filter(|l| !l.contains(&format!("-{}", world.instance)) || l.starts_with("process"));
        left.count() == 0 && std::fs::read_dir(&bridge).map_or(0, Iterator::count) == 0
    };
    wait("nothing is left", || async { only_bridge() }).await;
}
