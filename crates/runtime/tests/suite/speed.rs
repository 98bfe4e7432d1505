//! How long things take; printed, not judged: `cargo test -p runtime --test suite -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use cri::*;

use crate::world::*;

const RUNS: usize = 50;

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (min, median, max) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: min {min:?}, median {median:?}, max {max:?} of {}", times.len());
}

/// Seconds of CPU that the runtime, the keeper and their ended children have used.
fn cpu(world: &World) -> f64 {
    const TICKS: f64 = 100.0;
    let (here, mut ticks) = (world.path("state/keeper.log"), 0);
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let path = entry.path();
        let keeper = std::fs::read_link(path.join("fd/2")).is_ok_and(|p| p == here);
        let server = std::fs::read_link(path.join("fd/2")).is_ok_and(|p| p == world.path("server.log"));
        if keeper || server {
            let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
            ticks += fields.skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum::<u64>();
        }
    }
    ticks as f64 / TICKS
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed() {
    let world = World::with_network().await;
    let sandbox = world.sandbox().await;
    let cpu_before = cpu(&world);
    let (mut create, mut start, mut run, mut delete, mut all) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..RUNS {
        let begin = Instant::now();
        let id = world
            .create(
                &sandbox,
                Wish { name: "main", command: vec!["/bin/sleep".into(), "1000".into()], change: None },
            )
            .await
            .expect("created");
        create.push(begin.elapsed());
        let begin_start = Instant::now();
        world.start(&id).await.expect("started");
        start.push(begin_start.elapsed());
        let begin_delete = Instant::now();
        world.client.remove_container(RemoveContainerRequest { container_id: id }).await.expect("removed");
        delete.push(begin_delete.elapsed());
        all.push(begin.elapsed());
    }
    println!(
        "create, start, delete: {:.2} ms of CPU each",
        (cpu(&world) - cpu_before) * 1000.0 / RUNS as f64
    );
    let cpu_before = cpu(&world);
    let mut gone = vec![];
    for _ in 0..RUNS {
        let begin = Instant::now();
        let (id, _, _) = world.networked(|_| {}).await;
        run.push(begin.elapsed());
        let begin = Instant::now();
        world
            .client
            .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.clone() })
            .await
            .expect("stopped");
        world
            .client
            .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id })
            .await
            .expect("removed");
        gone.push(begin.elapsed());
    }
    println!(
        "sandbox run, stop, remove: {:.2} ms of CPU each",
        (cpu(&world) - cpu_before) * 1000.0 / RUNS as f64
    );
    report("create a container", create);
    report("start it", start);
    report("kill and delete it", delete);
    report("create, start, delete", all);
    report("run a sandbox with a network", run);
    report("stop and remove it", gone);
}
