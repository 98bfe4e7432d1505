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

#[tokio::test]
#[ignore = "a measurement"]
async fn speed() {
    let world = World::with_network().await;
    let sandbox = world.sandbox().await;
    let (mut create, mut start, mut run, mut delete, mut all) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..RUNS {
        let begin = Instant::now();
        let id = world.create(&sandbox, Wish { name: "main", command: vec!["/bin/sleep".into(), "1000".into()], change: None }).await.expect("created");
        create.push(begin.elapsed());
        let begin_start = Instant::now();
        world.start(&id).await.expect("started");
        start.push(begin_start.elapsed());
        let begin_delete = Instant::now();
        world.client.remove_container(RemoveContainerRequest { container_id: id }).await.expect("removed");
        delete.push(begin_delete.elapsed());
        all.push(begin.elapsed());
    }
    let mut gone = vec![];
    for _ in 0..RUNS {
        let begin = Instant::now();
        let (id, _, _) = world.networked(|_| {}).await;
        run.push(begin.elapsed());
        let begin = Instant::now();
        world.client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await.expect("stopped");
        world.client.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id }).await.expect("removed");
        gone.push(begin.elapsed());
    }
    report("create a container", create);
    report("start it", start);
    report("kill and delete it", delete);
    report("create, start, delete", all);
    report("run a sandbox with a network", run);
    report("stop and remove it", gone);
}
