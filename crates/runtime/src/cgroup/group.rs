//! One group: made, entered, emptied, removed.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Cgroups;
use crate::clock::pause;

/// v2 controllers that children of a parent may use.
const V2_CONTROLLERS: [&str; 6] = ["+cpu", "+memory", "+pids", "+cpuset", "+io", "+hugetlb"];
/// How long a group may stay busy after its last process was killed.
const REMOVAL_LIMIT: Duration = Duration::from_secs(5);
const REMOVAL_PAUSE: Duration = Duration::from_millis(1);
/// How deep containers may nest groups of their own; deeper ones are left to them.
const DEPTH_LIMIT: u32 = 16;

/// A container's directories, one for each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Controller (`""` for v2's single hierarchy), the hierarchy's root, the group's directory.
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    controllers: Vec<String>,
    root: PathBuf,
    directory: PathBuf,
}

impl Group {
    pub(super) fn new(cgroups: &Cgroups, path: &str) -> Self {
        let path = crate::init::clean(path);
        let mut places: Vec<Place> = Vec::new();
        match cgroups {
            Cgroups::V2(root) => {
                places.push(Place {
                    controllers: Vec::new(),
                    root: root.clone(),
                    directory: root.join(&path),
                });
            }
            Cgroups::V1(controllers) => {
                for (controller, root) in controllers {
                    match places.iter_mut().find(|place| place.root == *root) {
                        Some(place) => place.controllers.push(controller.clone()),
                        None => places.push(Place {
                            controllers: vec![controller.clone()],
                            root: root.clone(),
                            directory: root.join(&path),
                        }),
                    }
                }
            }
        }
        Self { places }
    }

    /// Whether this machine is v2.
    pub(crate) fn unified(&self) -> bool {
        self.places.first().is_some_and(|place| place.controllers.is_empty())
    }

    /// The directory in a v1 controller's hierarchy, or the only one.
    pub(super) fn directory(&self, controller: &str) -> Option<&Path> {
        let has = |place: &&Place| {
            place.controllers.is_empty() || place.controllers.iter().any(|c| c == controller)
        };
        self.places.iter().find(has).map(|place| place.directory.as_path())
    }

    /// Makes the group and its missing parents. v1's cpuset hierarchy is left out unless it is asked for: each change
    /// of it makes the kernel rebuild its scheduling domains.
    pub(crate) fn create(&self, cpuset: bool) -> io::Result<()> {
        self.places.iter().filter(|place| cpuset || !place.only("cpuset")).try_for_each(Place::create)
    }

    /// Makes up for a cpuset that was left out: the group's processes enter it.
    pub(super) fn need_cpuset(&self) -> io::Result<()> {
        let left_out = |place: &&Place| place.only("cpuset") && !place.directory.is_dir();
        let Some(place) = self.places.iter().find(left_out) else { return Ok(()) };
        place.create()?;
        for pid in self.pids() {
            fs::write(place.directory.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Whether the group is there.
    pub(crate) fn is_made(&self) -> bool {
        self.made().next().is_some()
    }

    /// The places where the group was made.
    fn made(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.directory.is_dir())
    }

    /// The files through which a process of one thread enters by itself. In v1 that is `tasks`: the kernel then
    /// needn't keep every fork of the machine out meanwhile, for which it waits 10 ms and more after a quiet time.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        let file = if self.unified() { "cgroup.procs" } else { "tasks" };
        self.made().map(|place| place.directory.join(file)).collect()
    }

    /// Where a process can be born into the group: v2's only directory.
    pub(crate) fn birthplace(&self) -> Option<PathBuf> {
        self.made().next().filter(|_| self.unified()).map(|place| place.directory.clone())
    }

    /// The directories by the names that containers look for below /sys/fs/cgroup.
    pub(crate) fn views(&self) -> Vec<(String, PathBuf)> {
        let name = |place: &Place| match place.controllers.is_empty() {
            true => String::new(),
            false => place.root.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        self.made().map(|place| (name(place), place.directory.clone())).collect()
    }

    /// Processes in the group, in our pid namespace.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut found = Vec::new();
        if let Some(place) = self.made().next() {
            collect_pids(&place.directory, DEPTH_LIMIT, &mut found);
        }
        found
    }

    /// Kills every process of the group.
    pub(crate) fn kill(&self) {
        if self.unified()
            && let Some(place) = self.places.first()
            && fs::write(place.directory.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for pid in self.pids().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Removes the group where nothing is in it.
    pub(crate) fn remove_if_empty(&self) {
        for place in &self.places {
            // Refused by the kernel as long as it has a process or a group below it.
            let _ = fs::remove_dir(&place.directory);
        }
    }

    /// Removes the group with all that containers made below it; kills what is still inside.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + REMOVAL_LIMIT;
        for place in &self.places {
            while let Err(error) = remove_tree(&place.directory, DEPTH_LIMIT) {
                if error.kind() != ErrorKind::ResourceBusy || Instant::now() > deadline {
                    return Err(error);
                }
                self.kill();
                pause(REMOVAL_PAUSE);
            }
        }
        Ok(())
    }
}

impl Place {
    fn only(&self, controller: &str) -> bool {
        matches!(self.controllers.as_slice(), [one] if one == controller)
    }

    fn create(&self) -> io::Result<()> {
        match fs::create_dir(&self.directory) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Another cluster of this machine may remove a parent that looked empty to it: once more then.
                self.create_parents().or_else(|_| self.create_parents())?;
            }
            Err(error) => return Err(error),
        }
        self.prepare(&self.directory)
    }

    fn create_parents(&self) -> io::Result<()> {
        let below = self.directory.strip_prefix(&self.root).map_err(io::Error::other)?;
        let mut directory = self.root.clone();
        for name in below.components() {
            if self.controllers.is_empty() {
                enable_controllers(&directory);
            }
            directory.push(name);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => self.prepare(&directory)?,
            }
        }
        Ok(())
    }

    /// A v1 cpuset admits no process before it has CPUs and memory nodes; a v2 parent must pass its controllers on.
    fn prepare(&self, directory: &Path) -> io::Result<()> {
        if self.controllers.is_empty() {
            if let Some(parent) = directory.parent().filter(|p| p.starts_with(&self.root)) {
                enable_controllers(parent);
            }
            return Ok(());
        }
        if self.controllers.iter().any(|c| c == "cpuset")
            && let Some(parent) = directory.parent()
        {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let inherited = fs::read_to_string(parent.join(file))?;
                if fs::read_to_string(directory.join(file))?.trim().is_empty() {
                    fs::write(directory.join(file), inherited.trim())?;
                }
            }
        }
        Ok(())
    }
}

/// One write for each, because one missing controller fails a joint write.
fn enable_controllers(directory: &Path) {
    let enable = |controller: &str| fs::write(directory.join("cgroup.subtree_control"), controller);
    for controller in V2_CONTROLLERS {
        if enable(controller).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {
            make_room(directory);
            let _ = enable(controller);
        }
    }
}

/// A group with processes of its own passes no controllers on. Where we run inside another container, its processes
/// are in what looks like the root to us; they move to a group beside ours (as k3s and kind do).
fn make_room(directory: &Path) {
    let init = directory.join("init");
    let _ = fs::create_dir(&init);
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for process in processes.lines() {
        let _ = fs::write(init.join("cgroup.procs"), process);
    }
}

fn collect_pids(directory: &Path, depth: u32, found: &mut Vec<i32>) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    if depth == 0 {
        return;
    }
    for child in subdirectories(directory) {
        collect_pids(&child, depth - 1, found);
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn remove_tree(directory: &Path, depth: u32) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) if depth > 0 && !subdirectories(directory).is_empty() => {
            subdirectories(directory).iter().try_for_each(|child| remove_tree(child, depth - 1))?;
            fs::remove_dir(directory)
        }
        other => other,
    }
}
