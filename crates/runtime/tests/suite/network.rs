//! Pods' own networks: addresses, reachability, host ports, sysctls.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use cri::*;

use crate::world::*;

#[tokio::test]
async fn no_network_before_the_cidr_is_known() {
    let world = World::new().await;
    let ready = async || {
        let status =
            world.client.status(Default::default()).await.expect("a status").status.expect("a status");
        status.conditions.iter().map(|c| (c.r#type.clone(), c.status)).collect::<Vec<_>>()
    };
    assert_eq!(ready().await, [("RuntimeReady".to_owned(), true), ("NetworkReady".to_owned(), false)]);
    let config = world.sandbox_config(|c| set_namespaces(c, |o| o.network = NamespaceMode::Pod.into()));
    let refused = world
        .client
        .run_pod_sandbox(RunPodSandboxRequest { config: Some(config), ..Default::default() })
        .await;
    assert!(refused.expect_err("no network").message.contains("no CIDR"));
    world.configure_network().await.expect("a network");
    world.configure_network().await.expect("the same again");
    assert_eq!(ready().await, [("RuntimeReady".to_owned(), true), ("NetworkReady".to_owned(), true)]);
}

#[tokio::test]
async fn pods_reach_each_other_and_the_node() {
    let world = World::with_network().await;
    let gateway =
        || std::fs::read_to_string(format!("/sys/class/net/ic-{}/address", world.instance)).unwrap();
    let before = gateway();
    let (server, server_config, server_ip) = world.networked(|c| c.hostname = "server".into()).await;
    let server = (server, server_config);
    let (other, other_config, other_ip) = world.networked(|_| {}).await;
    let other = (other, other_config);
    assert_ne!(server_ip, other_ip);
    assert_eq!(gateway(), before, "pods keep the neighbour that they know");
    let web = world.launch(&server, shell("hostname; while :; do echo hello | nc -l -p 80; done")).await;
    world.wait_log("main", "server").await;
    let script =
        format!("ping -c 1 -W 5 {server_ip} >/dev/null && nc -w 5 {server_ip} 80; ip route; hostname");
    let (_, log) = world.finish(&other, Wish { name: "client", ..shell(&script) }).await;
    assert!(log.starts_with("hello\ndefault via ") && log.ends_with("\npod\n"), "{log}");
    let reach = async || {
        let mut text = String::new();
        let stream = TcpStream::connect((server_ip.as_str(), 80));
        stream.is_ok_and(|mut s| s.read_to_string(&mut text).is_ok() && text == "hello\n")
    };
    wait("the node reaches the pod", reach).await;
    let (code, _, _) = world
        .exec(&web, "ping -c 1 -W 5 127.0.0.1 && cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
        .await;
    assert_eq!(code, 0);
    world.client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: server.0 }).await.expect("stopped");
    assert!(
        TcpStream::connect_timeout(
            &format!("{server_ip}:80").parse().expect("an address"),
            std::time::Duration::from_millis(300)
        )
        .is_err()
    );
}

#[tokio::test]
async fn host_ports_lead_into_pods() {
    let world = World::with_network().await;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let (id, config, _) = world
        .networked(|c| {
            c.port_mappings =
                vec![PortMapping { host_port: port.into(), container_port: 8080, ..Default::default() }];
        })
        .await;
    world.launch(&(id, config), shell("while :; do echo by port | nc -l -p 8080; done")).await;
    let reach = async || {
        let mut text = String::new();
        let stream = TcpStream::connect(("127.0.0.1", port));
        stream.is_ok_and(|mut s| {
            s.write_all(b"x").is_ok() && s.read_to_string(&mut text).is_ok() && text == "by port\n"
        })
    };
    wait("the host port answers", reach).await;
}

#[tokio::test]
async fn sysctls_are_the_pods_own() {
    let world = World::with_network().await;
    let (id, config, _) = world
        .networked(|c| {
            let sysctls = &mut c.linux.get_or_insert_default().sysctls;
            sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
            sysctls.insert("net.ipv4.tcp_syncookies".into(), "0".into());
        })
        .await;
    let script = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/tcp_syncookies";
    let (_, log) = world.finish(&(id, config), shell(script)).await;
    assert_eq!(log, "1\n0\n");
}
