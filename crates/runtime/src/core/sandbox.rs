//! Pod sandboxes: namespaces without a process, held by files that they are mounted on.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cri::{
    CriError, LinuxContainerResources, NamespaceMode, NamespaceOption, PodSandboxConfig, RunPodSandboxRequest,
};
use rustix::mount::{MountFlags, UnmountFlags};

use super::{CallResult, Core, Sandbox, failed, lock, new_id};
use crate::clock;
use crate::keeper::{Spawn, send_spec};
use crate::net::{HostPort, HostSide, loopback_up};
use crate::spec::ChildSpec;
use crate::state::SandboxRecord;
use crate::sys;

/// Size of a pod's shared memory (containerd's default), which is a directory of the sandbox's one tmpfs.
const TMPFS_OPTIONS: &str = "size=67108864,mode=755";
/// What every pod with a network of its own gets, before its own sysctls (containerd 2's defaults).
const SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];
/// The kernel's limit.
const HOSTNAME_LIMIT: usize = 64;

/// The namespaces that a sandbox has of its own: clone flag and name below /proc/<pid>/ns.
const KINDS: [(i32, &str); 3] =
    [(libc::CLONE_NEWNET, "net"), (libc::CLONE_NEWIPC, "ipc"), (libc::CLONE_NEWUTS, "uts")];

/// The namespace options of a sandbox's configuration.
pub(crate) fn namespace_options(config: &PodSandboxConfig) -> NamespaceOption {
    let context = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    context.and_then(|context| context.namespace_options.clone()).unwrap_or_default()
}

/// Whether a sandbox uses the node's network.
pub(crate) fn host_network(config: &PodSandboxConfig) -> bool {
    namespace_options(config).network() == NamespaceMode::Node
}

fn own_namespaces(config: &PodSandboxConfig) -> i32 {
    let mut flags = 0;
    if !host_network(config) {
        flags |= libc::CLONE_NEWNET | libc::CLONE_NEWUTS;
    }
    if namespace_options(config).ipc() != NamespaceMode::Node {
        flags |= libc::CLONE_NEWIPC;
    }
    flags
}

impl Core {
    /// CRI `RunPodSandbox`.
    pub(crate) fn run_sandbox(&self, request: RunPodSandboxRequest) -> CallResult<String> {
        let config = request.config.ok_or_else(|| CriError::invalid("sandbox config is missing"))?;
        validate(&config, &request.runtime_handler)?;
        let mut record = SandboxRecord {
            id: new_id()?,
            runtime_handler: request.runtime_handler,
            created_at: clock::now_nanos(),
            boot: self.boot.clone(),
            config,
            ..Default::default()
        };
        if let Err(error) = self.set_up_sandbox(&mut record) {
            self.tear_down_sandbox(&record);
            let _ = fs::remove_dir_all(self.places.sandbox(&record.id));
            return Err(error);
        }
        let id = record.id.clone();
        lock(&self.sandboxes).insert(id.clone(), Sandbox::new(record));
        Ok(id)
    }

    fn set_up_sandbox(&self, record: &mut SandboxRecord) -> CallResult<()> {
        let directory = self.places.sandbox(&record.id);
        fs::create_dir_all(&directory).map_err(|e| failed("making the sandbox's directory", e))?;
        write_files(&directory, &record.config).map_err(|e| failed("writing the sandbox's files", e))?;
        if !host_network(&record.config) {
            let address = self.network.reserve().map_err(|e| failed("cannot give the pod an address", e))?;
            record.address = Some(address);
            record.veth = Some(format!("ic{}", &record.id[..11]));
        }
        // On disk before anything is made that would have to be cleaned up.
        self.save_sandbox(record)?;
        mount_tmpfs(&self.places.mounts(&record.id))
            .map_err(|e| failed("mounting the sandbox's tmpfs", e))?;
        self.make_namespaces(record)?;
        if namespace_options(&record.config).pid() == NamespaceMode::Pod {
            self.start_pod_init(record)?;
        }
        if let (Some(address), Some(veth)) = (record.address, &record.veth) {
            self.network.hairpin(veth);
            let ports = host_ports(&record.config, address)?;
            self.network.open_ports(&ports).map_err(|e| failed("opening host ports", e))?;
        }
        record.ready = true;
        self.save_sandbox(record)
    }

    /// Makes the namespaces on a thread of their own, which leaves them behind on files when it ends.
    fn make_namespaces(&self, record: &SandboxRecord) -> CallResult<()> {
        let flags = own_namespaces(&record.config);
        if flags == 0 {
            return Ok(());
        }
        let host = match record.address {
            Some(_) => Some(self.network.host_side().map_err(|e| failed("opening the pod network", e))?),
            None => None,
        };
        let made = std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.within_namespaces(record, flags, host.as_ref()));
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that makes namespaces panicked")))
        });
        made.map_err(|e| failed("making the pod's namespaces", e))
    }

    fn within_namespaces(
        &self,
        record: &SandboxRecord,
        flags: i32,
        host: Option<&HostSide>,
    ) -> io::Result<()> {
        sys::unshare(flags)?;
        if flags & libc::CLONE_NEWUTS != 0 {
            rustix::system::sethostname(hostname(&record.config).as_bytes())?;
        }
        if flags & libc::CLONE_NEWNET != 0 {
            loopback_up()?;
            if let (Some(host), Some(address), Some(veth)) = (host, record.address, &record.veth) {
                let namespace = fs::File::open("/proc/thread-self/ns/net")?;
                self.network.connect(host, address, veth, namespace)?;
            }
            for (name, value) in SYSCTLS {
                set_sysctl(name, value)?;
            }
        }
        for (name, value) in record.config.linux.iter().flat_map(|linux| &linux.sysctls) {
            set_sysctl(name, value)?;
        }
        for (_, kind) in KINDS.iter().filter(|(flag, _)| flags & flag != 0) {
            let file = self.places.namespace(&record.id, kind);
            fs::File::create(&file)?;
            rustix::mount::mount_bind(format!("/proc/thread-self/ns/{kind}"), &file)?;
        }
        Ok(())
    }

    /// A shared pid namespace needs an init; it is a fork of the keeper that only collects orphans.
    fn start_pod_init(&self, record: &SandboxRecord) -> CallResult<()> {
        let null = || fs::File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        let doing = |e: io::Error| failed("starting the pod's init", e);
        let spec = send_spec(&ChildSpec::PodInit).map_err(doing)?;
        let (ours, theirs) = crate::keeper::control_pair().map_err(doing)?;
        let streams = [null().map_err(doing)?, null().map_err(doing)?, null().map_err(doing)?];
        let fds = [spec.as_fd(), theirs.as_fd(), streams[0].as_fd(), streams[1].as_fd(), streams[2].as_fd()];
        let spawn =
            Spawn { id: format!("pod-{}", record.id), flags: libc::CLONE_NEWPID as u64, ..Spawn::default() };
        let pid = self.keeper.spawn(spawn, &fds).map_err(|e| failed("starting the pod's init", e))?;
        drop(theirs);
        crate::keeper::wait_for_report(&ours).map_err(|e| failed("starting the pod's init", e))?;
        let file = self.places.namespace(&record.id, "pid");
        fs::File::create(&file)
            .and_then(|_| Ok(rustix::mount::mount_bind(format!("/proc/{pid}/ns/pid"), &file)?))
            .and_then(|()| fs::write(self.places.sandbox(&record.id).join("init.pid"), pid.to_string()))
            .map_err(doing)
    }

    /// CRI `StopPodSandbox`: ends every container and gives the network back. Repeating it is no error.
    pub(crate) fn stop_sandbox(&self, id: &str) -> CallResult<()> {
        let sandbox = match self.sandbox(id) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let _working = lock(&sandbox.work);
        let record = sandbox.record();
        for container in self.containers_of(&record.id) {
            self.kill_container(&container)?;
        }
        if record.ready {
            self.tear_down_sandbox(&record);
            let mut slot = lock(&sandbox.record);
            slot.ready = false;
            self.save_sandbox(&slot)?;
        }
        Ok(())
    }

    /// Undoes whatever of a sandbox there is.
    pub(super) fn tear_down_sandbox(&self, record: &SandboxRecord) {
        let directory = self.places.sandbox(&record.id);
        if let Some(pid) =
            fs::read_to_string(directory.join("init.pid")).ok().and_then(|text| text.parse().ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
            && same_namespace(
                &format!("/proc/{}/ns/pid", pid.as_raw_nonzero()),
                &self.places.namespace(&record.id, "pid"),
            )
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = rustix::mount::unmount(self.places.mounts(&record.id), UnmountFlags::DETACH);
        self.network.close_ports(record.address);
        // The kernel takes its time to remove an interface; the address is not given out again before.
        let (address, veth) = (record.address, record.veth.clone());
        match self.arc() {
            Some(core) => {
                drop(self.tokio.spawn_blocking(move || core.network.release(address, veth.as_deref())))
            }
            None => self.network.release(address, veth.as_deref()),
        }
    }

    /// CRI `UpdatePodSandboxResources`: what the pod may use as a whole.
    pub(crate) fn update_sandbox_resources(
        &self,
        id: &str,
        wanted: Option<LinuxContainerResources>,
    ) -> CallResult<()> {
        let sandbox = self.sandbox(id)?;
        let Some(wanted) = wanted else { return Ok(()) };
        let _working = lock(&sandbox.work);
        let mut slot = lock(&sandbox.record);
        let linux = slot.config.linux.get_or_insert_default();
        let group = self.cgroups.group(&linux.cgroup_parent);
        linux.resources = Some(wanted.clone());
        // What the kernel refuses now, because a container has more, holds from the container's next start on.
        self.save_sandbox(&slot)?;
        drop(slot);
        match group.is_made() {
            true => group.limit(&wanted).map_err(|e| failed("changing the pod's limits", e)),
            false => Ok(()),
        }
    }

    /// What a pod may use as a whole may have changed since its sandbox was made: a container comes with the newest
    /// word, which holds from its start on.
    pub(super) fn keep_pod_limits(
        &self,
        sandbox: &Sandbox,
        newest: Option<&PodSandboxConfig>,
    ) -> CallResult<()> {
        let wanted = newest.and_then(|config| config.linux.as_ref()?.resources.clone());
        let mut slot = lock(&sandbox.record);
        let known = slot.config.linux.as_ref().and_then(|linux| linux.resources.clone());
        if wanted.is_none() || wanted == known {
            return Ok(());
        }
        slot.config.linux.get_or_insert_default().resources = wanted;
        self.save_sandbox(&slot)
    }

    /// CRI `RemovePodSandbox`: stops it if it is not, and forgets it with its containers.
    pub(crate) fn remove_sandbox(&self, id: &str) -> CallResult<()> {
        let sandbox = match self.sandbox(id) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let record = sandbox.record();
        let id = record.id;
        self.stop_sandbox(&id)?;
        for container in self.containers_of(&id) {
            let container = container.record().id;
            self.remove_container(&container)?;
        }
        // Gone already, unless a crash of ours cut the stop off.
        let _ = rustix::mount::unmount(self.places.mounts(&id), UnmountFlags::DETACH);
        match fs::remove_dir_all(self.places.sandbox(&id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removing the sandbox's files", error));
            }
            _ => {}
        }
        lock(&self.sandboxes).remove(&id);
        let parent = record.config.linux.map(|linux| linux.cgroup_parent).unwrap_or_default();
        // The pod's own group was made with its first container's; nobody else removes it.
        if parent.rsplit('/').next().is_some_and(|name| name.starts_with("pod")) {
            self.cgroups.group(&parent).remove_if_empty();
        }
        Ok(())
    }
}

fn validate(config: &PodSandboxConfig, handler: &str) -> CallResult<()> {
    if !handler.is_empty() && handler != "runc" {
        return Err(CriError::invalid(format!("no runtime for {handler:?} is configured")));
    }
    if config.metadata.is_none() {
        return Err(CriError::invalid("sandbox config must include metadata"));
    }
    let users = namespace_options(config).userns_options;
    if users.is_some_and(|users| users.mode() == NamespaceMode::Pod) {
        return Err(CriError::invalid(
            "user namespaces are not supported by this runtime; set hostUsers: true",
        ));
    }
    for name in config.linux.iter().flat_map(|linux| linux.sysctls.keys()) {
        sysctl_path(name).map_err(CriError::invalid)?;
    }
    Ok(())
}

fn hostname(config: &PodSandboxConfig) -> String {
    let mut name = match host_network(config) || config.hostname.is_empty() {
        true => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        false => config.hostname.clone(),
    };
    name.truncate(HOSTNAME_LIMIT);
    name
}

fn write_files(directory: &Path, config: &PodSandboxConfig) -> io::Result<()> {
    fs::write(directory.join("hostname"), hostname(config) + "\n")?;
    let text = match &config.dns_config {
        Some(dns) if !dns.servers.is_empty() || !dns.searches.is_empty() || !dns.options.is_empty() => {
            resolv_conf(dns)
        }
        // Without an answer of the node agent, the node's own, as containerd does.
        _ => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    fs::write(directory.join("resolv.conf"), text)
}

fn resolv_conf(dns: &cri::DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    text
}

fn mount_tmpfs(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let options = std::ffi::CString::new(TMPFS_OPTIONS).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("pod", path, "tmpfs", flags, options.as_c_str())?;
    fs::create_dir(path.join("ns"))?;
    fs::create_dir(path.join("shm"))?;
    fs::set_permissions(path.join("shm"), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
}

fn sysctl_path(name: &str) -> Result<String, String> {
    let slashed = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    let odd = slashed.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if odd { Err(format!("invalid sysctl {name:?}")) } else { Ok(format!("/proc/sys/{slashed}")) }
}

fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = sysctl_path(name).map_err(io::Error::other)?;
    fs::write(path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("setting sysctl {name}={value}: {error}")))
}

pub(super) fn host_ports(config: &PodSandboxConfig, address: Ipv4Addr) -> CallResult<Vec<HostPort>> {
    let wanted = config.port_mappings.iter().filter(|port| port.host_port > 0);
    wanted
        .map(|port| {
            let number =
                |n: i32| u16::try_from(n).map_err(|_| CriError::invalid(format!("invalid port {n}")));
            let host_ip = match port.host_ip.as_str() {
                "" | "0.0.0.0" | "::" => None,
                ip => Some(ip.parse().map_err(|_| CriError::invalid(format!("invalid hostIP {ip:?}")))?),
            };
            let protocol = match port.protocol() {
                cri::Protocol::Tcp => "tcp",
                cri::Protocol::Udp => "udp",
                cri::Protocol::Sctp => "sctp",
            };
            let (host_port, container_port) = (number(port.host_port)?, number(port.container_port)?);
            Ok(HostPort { host_ip, protocol, host_port, pod_ip: address, container_port })
        })
        .collect()
}

fn same_namespace(one: &str, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.ino() == other.ino() && one.dev() == other.dev(),
        _ => false,
    }
}
