//! Of what the node is short, which pod must go for it, and which pods and volumes outgrew their own limits
//! (`pkg/kubelet/eviction`).

use super::{conditions, podspec, qos, resources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::quantity::{Format, Quantity};
use std::sync::Arc;

/// The reason of a pod's DisruptionTarget condition when this node ends it.
pub const DISRUPTED_BY_US: &str = "TerminationByKubelet";

/// The reason of evictions.
pub const REASON: &str = "Evicted";

/// One file system as it stands, in bytes and inodes; a capacity of 0 is one of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes that unprivileged users may still write.
    pub available: i64,
    /// Bytes in all.
    pub capacity: i64,
    /// Inodes that are free.
    pub inodes_free: i64,
    /// Inodes in all.
    pub inodes: i64,
}

/// What the node has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of memory that are available.
    pub memory: i64,
    /// The file system of pods' directories and logs.
    pub nodefs: FileSystem,
    /// The file system of images and writable layers.
    pub imagefs: FileSystem,
}

/// How much of a file system is to stay free: a share of it, but no more than an amount, since a share of a large
/// disk is no sign of distress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Hundredths of the capacity.
    pub percent: i64,
    /// Bytes.
    pub at_most: i64,
}

impl Reserve {
    /// A share alone, as upstream writes its defaults.
    pub const fn percent(percent: i64) -> Self {
        Self { percent, at_most: i64::MAX }
    }

    /// In bytes, for a file system of so many.
    pub fn of(self, capacity: i64) -> i64 {
        share(capacity, self.percent).min(self.at_most)
    }
}

fn share(of: i64, percent: i64) -> i64 {
    i64::try_from(i128::from(of) * i128::from(percent) / 100).unwrap_or(i64::MAX)
}

/// Below which the node is short (`evictionHard`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// `memory.available`, in bytes.
    pub memory: i64,
    /// `nodefs.available`.
    pub nodefs: Reserve,
    /// `nodefs.inodesFree`, in hundredths.
    pub nodefs_inodes: i64,
    /// `imagefs.available`.
    pub imagefs: Reserve,
    /// `imagefs.inodesFree`, in hundredths.
    pub imagefs_inodes: i64,
}

impl Default for Thresholds {
    /// `DefaultEvictionHard` of `pkg/kubelet/eviction/defaults_linux.go`.
    fn default() -> Self {
        let (nodefs, imagefs) = (Reserve::percent(10), Reserve::percent(15));
        Self { memory: 100 << 20, nodefs, nodefs_inodes: 5, imagefs, imagefs_inodes: 5 }
    }
}

/// What the node is short of, as the resource that is reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// `memory`
    Memory,
    /// `ephemeral-storage`
    Storage,
    /// `inodes`
    Inodes,
}

impl Resource {
    /// As messages and requests name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "ephemeral-storage",
            Self::Inodes => "inodes",
        }
    }
}

/// A threshold that is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Of what.
    pub resource: Resource,
    /// The threshold as an amount.
    pub threshold: i64,
    /// What there is.
    pub available: i64,
}

/// The thresholds that are met, memory first.
pub fn shortages(f: &Figures, t: &Thresholds) -> Vec<Shortage> {
    [
        (Resource::Memory, f.memory, t.memory),
        (Resource::Storage, f.nodefs.available, t.nodefs.of(f.nodefs.capacity)),
        (Resource::Storage, f.imagefs.available, t.imagefs.of(f.imagefs.capacity)),
        (Resource::Inodes, f.nodefs.inodes_free, share(f.nodefs.inodes, t.nodefs_inodes)),
        (Resource::Inodes, f.imagefs.inodes_free, share(f.imagefs.inodes, t.imagefs_inodes)),
    ]
    .into_iter()
    .filter(|(_, available, threshold)| *threshold > 0 && available < threshold)
    .map(|(resource, available, threshold)| Shortage { resource, threshold, available })
    .collect()
}

/// Why a node under pressure takes no such pod (`managerImpl.Admit`); none if it does.
pub fn refusal(pod: &Pod, memory: bool, disk: bool) -> Option<String> {
    let tolerates = |o: &k8s_openapi::api::core::v1::Toleration| {
        let key = o.key.as_deref().unwrap_or_default();
        let effect = o.effect.as_deref().unwrap_or_default();
        let any = o.operator.as_deref() == Some("Exists");
        (key == "node.kubernetes.io/memory-pressure" || (key.is_empty() && any))
            && matches!(effect, "" | "NoSchedule")
    };
    let light = || {
        let tolerations = podspec::spec(pod).tolerations.as_deref().unwrap_or_default();
        qos::class(pod) != "BestEffort" || tolerations.iter().any(tolerates)
    };
    if !(memory || disk) || is_protected(pod) || (!disk && light()) {
        return None;
    }
    let words = [(memory, "MemoryPressure"), (disk, "DiskPressure")];
    let words: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    Some(format!("The node had condition: [{}]. ", words.join(" ")))
}

/// What a pod uses of one of the node's resources.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The pod.
    pub pod: Arc<Pod>,
    /// By container: working set in bytes, or writable layer and logs.
    pub containers: Vec<(String, i64)>,
    /// By none of them: volumes on disk.
    pub volumes: i64,
}

impl Usage {
    fn total(&self) -> i64 {
        self.containers.iter().map(|c| c.1).sum::<i64>() + self.volumes
    }

    /// Sorts first: beyond its request, of low priority, far beyond its request.
    fn rank(&self, resource: Resource) -> (bool, i32, i64) {
        let request = resources::pod_requests(&self.pod).get(resource.word()).map_or(0, Quantity::value);
        let over = self.total() - request;
        (over <= 0, podspec::spec(&self.pod).priority.unwrap_or(0), -over)
    }
}

fn is_protected(pod: &Pod) -> bool {
    qos::is_node_critical(pod) || podspec::spec(pod).priority.unwrap_or(0) >= qos::SYSTEM_CRITICAL_PRIORITY
}

/// The pod that goes first; none if all must stay.
pub fn victim(all: &[Usage], resource: Resource) -> Option<&Usage> {
    all.iter().filter(|u| !is_protected(&u.pod)).min_by_key(|u| u.rank(resource))
}

fn bytes(n: i64) -> String {
    Quantity::from_int(n, Format::BinarySi).to_string()
}

fn list(pod: &Pod, name: &str, limits: bool) -> Option<resources::List> {
    let r = podspec::find_container(pod, name)?.0.resources?;
    if limits { r.limits } else { r.requests }
}

/// Why a pod goes: the message in its status (`evictionMessage`).
pub fn message(u: &Usage, short: &Shortage) -> String {
    let word = short.resource.word();
    let (threshold, available) = match short.resource {
        Resource::Inodes => (short.threshold.to_string(), short.available.to_string()),
        _ => (bytes(short.threshold), format!("{}Ki", short.available / 1024)),
    };
    let mut out = format!(
        "The node was low on resource: {word}. Threshold quantity: {threshold}, available: {available}. "
    );
    for (name, used) in &u.containers {
        let request = list(&u.pod, name, false).map_or(0, |l| resources::value(Some(&l), word));
        if *used > request {
            let (used, request) = (format!("{}Ki", used / 1024), bytes(request));
            out += &format!(
                "Container {name} was using {used}, request is {request}, has larger consumption of {word}. "
            );
        }
    }
    out
}

/// Whether anything of the pod has a limit on `ephemeral-storage`.
pub fn has_storage_limit(pod: &Pod) -> bool {
    storage_limit(pod).is_some()
}

/// The limits of all containers together; none where none has one.
fn storage_limit(pod: &Pod) -> Option<i64> {
    let word = Resource::Storage.word();
    let limit = |c: &k8s_openapi::api::core::v1::Container| {
        resources::parse(c.resources.as_ref()?.limits.as_ref()?.get(word)?).map(|q| q.value())
    };
    let all: Vec<i64> = podspec::containers(pod).iter().filter_map(limit).collect();
    (!all.is_empty()).then(|| all.iter().sum())
}

/// Why a pod goes that uses more of the disk than it may; none if it may stay (`localStorageEviction`).
pub fn storage_excess(u: &Usage) -> Option<String> {
    let limit = storage_limit(&u.pod)?;
    if u.total() > limit {
        let limit = bytes(limit);
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        ));
    }
    u.containers.iter().find_map(|(name, used)| {
        let limits = list(&u.pod, name, true)?;
        let limit = limits.get(Resource::Storage.word())?;
        let too_much = *used > resources::parse(limit)?.value();
        too_much
            .then(|| format!("Container {name} exceeded its local ephemeral storage limit {:?}. ", limit.0))
    })
}

/// The volumes of a pod on disk that have a limit: their names and limits in bytes and as written.
pub fn limited_volumes(pod: &Pod) -> Vec<(String, i64, String)> {
    let one = |v: &k8s_openapi::api::core::v1::Volume| {
        let e = v.empty_dir.as_ref().filter(|e| e.medium.as_deref().unwrap_or_default().is_empty())?;
        let limit = e.size_limit.as_ref()?;
        let n = resources::parse(limit)?.value();
        (n > 0).then(|| (v.name.clone(), n, limit.0.clone()))
    };
    podspec::spec(pod).volumes.iter().flatten().filter_map(one).collect()
}

/// Why a pod goes whose volume outgrew its limit.
pub fn volume_message(name: &str, limit: &str) -> String {
    format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. ")
}

/// Notes in a status that the node ends the pod (KEP-3329).
pub fn mark(status: &mut PodStatus, message: &str, now: Timestamp) {
    let list = status.conditions.get_or_insert_default();
    list.retain(|c| c.type_ != "DisruptionTarget");
    list.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some(DISRUPTED_BY_US.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(conditions::whole_second(now))),
        ..PodCondition::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(name: &str, priority: i32, request: &str, used: i64) -> Usage {
        let c = json!({"name": "c", "resources": {"requests": {"memory": request}}});
        let pod = json!({"metadata": {"name": name}, "spec": {"priority": priority, "containers": [c]}});
        let pod = Arc::new(serde_json::from_value(pod).unwrap());
        Usage { pod, containers: vec![("c".into(), used << 20)], volumes: 0 }
    }

    #[test]
    fn who_uses_more_than_asked_for_goes_first_and_critical_pods_stay() {
        let all = [
            usage("modest", 0, "100Mi", 50),
            usage("greedy", 0, "10Mi", 60),
            usage("greedier", 0, "10Mi", 90),
            usage("important", 10, "0", 500),
            usage("critical", 2_000_000_000, "0", 900),
        ];
        let v = victim(&all, Resource::Memory).unwrap();
        assert_eq!(podspec::name(&v.pod), "greedier");
        let short = Shortage { resource: Resource::Memory, threshold: 100 << 20, available: 51 << 20 };
        assert_eq!(
            message(v, &short),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52224Ki. Container c was \
             using 92160Ki, request is 10Mi, has larger consumption of memory. "
        );
    }

    #[test]
    fn the_node_is_short_below_upstreams_thresholds() {
        let disk =
            |available, inodes_free| FileSystem { available, capacity: 1000, inodes_free, inodes: 100 };
        let words = |f: Figures| -> Vec<String> {
            let line = |s: &Shortage| format!("{} {}<{}", s.resource.word(), s.available, s.threshold);
            shortages(&f, &Thresholds::default()).iter().map(line).collect()
        };
        let fine = Figures { memory: 1 << 30, nodefs: disk(500, 50), imagefs: disk(500, 50) };
        assert!(words(fine).is_empty());
        assert!(words(Figures { memory: 1 << 30, ..Figures::default() }).is_empty(), "unknown is not short");
        assert_eq!(words(Figures { imagefs: disk(149, 50), ..fine }), ["ephemeral-storage 149<150"]);
        assert_eq!(
            words(Figures { memory: 99 << 20, nodefs: disk(99, 4), ..fine }),
            ["memory 103809024<104857600", "ephemeral-storage 99<100", "inodes 4<5"]
        );
    }

    #[test]
    fn a_large_disk_keeps_no_more_free_than_the_amount() {
        let of = |capacity| Reserve { percent: 5, at_most: 1 << 30 }.of(capacity);
        assert_eq!((of(0), of(10_000_000_000), of(1 << 40)), (0, 500_000_000, 1 << 30));
        assert_eq!(Reserve::percent(10).of(i64::MAX), i64::MAX / 10);
    }

    #[test]
    fn pressure_keeps_pods_away() {
        let best: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).unwrap();
        let modest = &usage("modest", 0, "1Mi", 0).pod;
        let critical = &usage("critical", 2_000_000_000, "0", 0).pod;
        assert_eq!(refusal(&best, false, false), None);
        assert_eq!(
            refusal(&best, true, false).as_deref(),
            Some("The node had condition: [MemoryPressure]. ")
        );
        assert_eq!(refusal(modest, true, false), None);
        assert_eq!(
            refusal(modest, true, true).as_deref(),
            Some("The node had condition: [MemoryPressure DiskPressure]. ")
        );
        assert_eq!(refusal(critical, false, true), None);
    }

    #[test]
    fn a_pod_may_not_use_more_of_the_disk_than_its_limits() {
        let c = |name: &str, limit: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": limit}}});
        let pod = json!({"spec": {"containers": [c("a", "1Ki"), c("b", "1Ki")]}});
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
        let excess = |a, b, volumes| {
            let containers = vec![("a".to_owned(), a), ("b".to_owned(), b)];
            storage_excess(&Usage { pod: pod.clone(), containers, volumes })
        };
        assert_eq!(excess(1024, 1024, 0), None);
        assert_eq!(
            excess(10, 10, 4096).unwrap(),
            "Pod ephemeral local storage usage exceeds the total limit of containers 2Ki. "
        );
        assert_eq!(
            excess(1500, 10, 0).unwrap(),
            "Container a exceeded its local ephemeral storage limit \"1Ki\". "
        );
    }
}
