//! Who a process runs as, by the image's own /etc/passwd and /etc/group.
//!
//! Semantics of containerd's `oci.WithUser` and `WithAdditionalGIDs`, which the node agent's behaviour was written
//! against. The files are the image's: data, read with a limit.

use std::fs::File;
use std::io::Read;

use super::Failure;
use crate::spec::{ResolvedUser, UserSpec};

/// The most of /etc/passwd or /etc/group that is read.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// A user with the home directory that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Numbers.
    pub ids: ResolvedUser,
    /// Home directory; `/` if the image lists none.
    pub home: String,
}

/// Looks the user up in the files below the current root.
pub(crate) fn resolve(spec: &UserSpec) -> Result<User, Failure> {
    let passwd = read("/etc/passwd");
    let group = read("/etc/group");
    resolve_in(spec, &passwd, &group)
}

fn read(path: &str) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(path)
        && file.metadata().is_ok_and(|m| m.is_file())
    {
        let _ = file.take(FILE_LIMIT).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        Some(Account { name: fields[0], uid, gid, home: fields.get(5).copied().unwrap_or("") })
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let gid = fields.get(2)?.parse().ok()?;
        let members = fields.get(3).map(|m| m.split(',').collect()).unwrap_or_default();
        Some(Group { name: fields[0], gid, members })
    })
}

fn resolve_in(spec: &UserSpec, passwd: &str, group: &str) -> Result<User, Failure> {
    let (user, named_group) = match spec.name.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec.name.as_str(), None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let account = accounts(passwd)
        .find(|a| a.name == user)
        .or_else(|| accounts(passwd).find(|a| Some(a.uid) == number));
    let uid =
        account.as_ref().map(|a| a.uid).or(number).ok_or_else(|| {
            Failure(format!("unable to find user {user}: no matching entries in passwd file"))
        })?;
    let group_number = match named_group.filter(|name| !name.is_empty()) {
        None => account.as_ref().map_or(0, |a| a.gid),
        Some(name) => {
            groups(group).find(|g| g.name == name).map(|g| g.gid).or_else(|| name.parse().ok()).ok_or_else(
                || Failure(format!("unable to find group {name}: no matching entries in group file")),
            )?
        }
    };
    let gid = spec.gid.unwrap_or(group_number);
    let mut all = vec![gid];
    if let (Some(account), false) = (&account, spec.strict) {
        all.extend(groups(group).filter(|g| g.members.contains(&account.name)).map(|g| g.gid));
    }
    all.extend(&spec.supplemental);
    let mut unique = Vec::with_capacity(all.len());
    all.into_iter().for_each(|g| {
        if !unique.contains(&g) {
            unique.push(g)
        }
    });
    let home = account.map(|a| a.home).filter(|home| home.starts_with('/')).unwrap_or("/").to_owned();
    Ok(User { ids: ResolvedUser { uid, gid, groups: unique }, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\napp:x:1000:\nweb:x:33:app,other\n";

    fn check(
        name: &str,
        gid: Option<u32>,
        supplemental: &[u32],
        strict: bool,
    ) -> Result<(u32, u32, Vec<u32>, String), String> {
        let spec = UserSpec { name: name.to_owned(), gid, supplemental: supplemental.to_vec(), strict };
        resolve_in(&spec, PASSWD, GROUP)
            .map(|u| (u.ids.uid, u.ids.gid, u.ids.groups, u.home))
            .map_err(|failure| failure.0)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(check("", None, &[], false), Ok((0, 0, vec![0], "/root".into())));
        assert_eq!(check("app", None, &[], false), Ok((1000, 1000, vec![1000, 33], "/home/app".into())));
        assert_eq!(check("1000", None, &[5], false), Ok((1000, 1000, vec![1000, 33, 5], "/home/app".into())));
        assert_eq!(check("app:web", None, &[], true), Ok((1000, 33, vec![33], "/home/app".into())));
        assert_eq!(check("4711", Some(42), &[], false), Ok((4711, 42, vec![42], "/".into())));
    }

    #[test]
    fn unknown_names_are_errors() {
        assert_eq!(
            check("nobody", None, &[], false),
            Err("unable to find user nobody: no matching entries in passwd file".into())
        );
        assert_eq!(
            check("app:wheel", None, &[], false),
            Err("unable to find group wheel: no matching entries in group file".into())
        );
    }
}
