//! Resources: limits hold, can be changed, running out of memory is told, use is counted.

use cri::*;

use crate::world::*;

#[tokio::test]
async fn running_out_of_memory_is_told() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let wish = shell("tail /dev/zero").with(|c| resources(c).memory_limit_in_bytes = 16 << 20);
    let (status, _) = world.finish(&sandbox, wish).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
}

#[tokio::test]
async fn limits_are_set_and_changed() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world
        .launch(
            &sandbox,
            shell("exec sleep 1000").with(|c| {
                let r = resources(c);
                (r.cpu_shares, r.cpu_period, r.cpu_quota) = (512, 100_000, 50_000);
                r.memory_limit_in_bytes = 64 << 20;
                r.oom_score_adj = 500;
                r.unified.insert("pids.max".into(), "50".into());
            }),
        )
        .await;
    let read = async |v1: &str, v2: &str| {
        let (_, text, _) =
            world.exec(&id, &format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}")).await;
        text.trim().to_owned()
    };
    assert_eq!(read("memory/memory.limit_in_bytes", "memory.max").await, "67108864");
    assert!(["512", "20"].contains(&read("cpu/cpu.shares", "cpu.weight").await.as_str()));
    assert!(["50000", "50000 100000"].contains(&read("cpu/cpu.cfs_quota_us", "cpu.max").await.as_str()));
    assert_eq!(read("pids/pids.max", "pids.max").await, "50");
    assert_eq!(world.exec(&id, "cat /proc/1/oom_score_adj").await.1, "500\n");
    assert_eq!(
        world.exec(&id, "ulimit -Sn; grep 'open files' /proc/1/limits | awk '{print $4}'; umask").await.1,
        "1024\n1024\n0022\n"
    );
    let linux = LinuxContainerResources {
        memory_limit_in_bytes: 32 << 20,
        cpu_quota: 20_000,
        cpu_period: 100_000,
        cpuset_cpus: "0".into(),
        ..Default::default()
    };
    let request = UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(linux),
        ..Default::default()
    };
    world.client.update_container_resources(request).await.expect("updated");
    assert_eq!(read("memory/memory.limit_in_bytes", "memory.max").await, "33554432");
    assert_eq!(world.exec(&id, "grep Cpus_allowed_list /proc/1/status | cut -f2").await.1, "0\n");
    let kept = world.status(&id).await.resources.and_then(|r| r.linux).expect("resources");
    assert_eq!((kept.memory_limit_in_bytes, kept.cpu_shares, kept.cpu_quota), (32 << 20, 512, 20_000));
    let (_, text, _) = world.exec(&id, "touch /sys/fs/cgroup/x 2>&1; echo $?").await;
    assert!(text.contains("Read-only file system") && text.ends_with("1\n"), "{text}");
}

#[tokio::test]
async fn a_pods_limits_follow_its_newest_container() {
    let world = World::new().await;
    let (id, mut config) = world.sandbox().await;
    // On cgroup v1 a container can't have more than the pod, and a pod not less than a container.
    for cpu_quota in [10_000, 30_000, 5_000] {
        let limits = LinuxContainerResources {
            cpu_period: 100_000,
            cpu_quota,
            memory_limit_in_bytes: 1000 * cpu_quota,
            ..LinuxContainerResources::default()
        };
        config.linux.get_or_insert_default().resources = Some(limits.clone());
        let wanted = shell("sleep 1000").with(|c| *resources(c) = limits);
        let container = world.launch(&(id.clone(), config.clone()), wanted).await;
        world
            .client
            .remove_container(RemoveContainerRequest { container_id: container })
            .await
            .expect("removed");
    }
}

#[tokio::test]
async fn use_is_counted() {
    let world = World::with_network().await;
    let (id, config, _) = world.networked(|_| {}).await;
    let script = "dd if=/dev/zero of=/file bs=1k count=512 2>/dev/null; n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; echo done; sleep 1000";
    let sandbox = (id.clone(), config);
    let container = world.launch(&sandbox, shell(script)).await;
    world.wait_log("main", "done").await;
    let stats = world
        .client
        .container_stats(ContainerStatsRequest { container_id: container.clone() })
        .await
        .expect("stats")
        .stats
        .expect("stats");
    let value = |v: Option<UInt64Value>| v.map_or(0, |v| v.value);
    assert!(value(stats.cpu.and_then(|c| c.usage_core_nano_seconds)) > 1_000_000);
    assert!(value(stats.memory.and_then(|m| m.working_set_bytes)) > 50_000);
    assert!(value(stats.writable_layer.and_then(|l| l.used_bytes)) >= 512 * 1024);
    let pod = world
        .client
        .pod_sandbox_stats(PodSandboxStatsRequest { pod_sandbox_id: id })
        .await
        .expect("stats")
        .stats
        .and_then(|s| s.linux)
        .expect("stats");
    assert!(value(pod.process.and_then(|p| p.process_count)) >= 1);
    assert_eq!(pod.network.and_then(|n| n.default_interface).map(|i| i.name), Some("eth0".into()));
    assert_eq!(pod.containers.len(), 1);
    let all = world.client.list_container_stats(Default::default()).await.expect("a list").stats;
    assert_eq!(all.len(), 1);
}

#[tokio::test]
async fn events_are_told_in_order() {
    use futures::StreamExt;
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let events = world.client.get_container_events(GetEventsRequest {}).await.expect("a stream");
    // The stream stands on the server once its first event comes; a warm-up container makes sure of it.
    let id = world.launch(&sandbox, shell("exit 2")).await;
    world.wait_exited(&id).await;
    world
        .client
        .remove_container(RemoveContainerRequest { container_id: id.clone() })
        .await
        .expect("removed");
    let events: Vec<_> = events.take(4).map(|e| e.expect("an event")).collect().await;
    let kinds: Vec<_> = events.iter().map(ContainerEventResponse::container_event_type).collect();
    use ContainerEventType::*;
    assert_eq!(
        kinds,
        [ContainerCreatedEvent, ContainerStartedEvent, ContainerStoppedEvent, ContainerDeletedEvent]
    );
    assert!(events.iter().all(|e| e.container_id == id && e.pod_sandbox_status.is_some()));
    assert_eq!(events[2].containers_statuses[0].exit_code, 2);
}
