//! Which resources a server has (`/api`, `/apis`), for what works on all of them.

use crate::Resource;
use crate::access::Client;
use crate::call::Call;
use crate::error::Error;
use serde::Deserialize;

/// A resource and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// The resource, in its group's preferred version.
    pub resource: Resource,
    /// Its verbs.
    pub verbs: Vec<String>,
}

impl Discovered {
    /// Whether the resource has all of these verbs.
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|v| v == verb))
    }
}

#[derive(Deserialize)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    preferred_version: GroupVersion,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct ResourceList {
    resources: Vec<RawResource>,
}

#[derive(Deserialize)]
struct RawResource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Decode(e.to_string()))
}

/// Every resource in its group's preferred version, without subresources. A group that doesn't answer is
/// left out and makes `complete` false: nobody may conclude that its objects don't exist.
pub async fn discover(client: &Client) -> Result<(Vec<Discovered>, bool), Error> {
    let groups: GroupList = parse(&client.send(Call::get_path("/apis")).await?)?;
    let mut versions = vec![(String::new(), "v1".to_owned())];
    versions.extend(groups.groups.into_iter().map(|g| (g.name, g.preferred_version.version)));
    let (mut all, mut complete) = (Vec::new(), true);
    for (group, version) in versions {
        let path = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/{version}") };
        match client.send(Call::get_path(&path)).await {
            Ok(bytes) => all.extend(resources(&group, &version, parse(&bytes)?)),
            Err(e) => {
                tracing::debug!(group, "discovery failed: {e}");
                complete = false;
            }
        }
    }
    Ok((all, complete))
}

fn resources(group: &str, version: &str, list: ResourceList) -> Vec<Discovered> {
    let whole = list.resources.into_iter().filter(|r| !r.name.contains('/'));
    let found = whole.map(|r| Discovered {
        resource: Resource {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            resource: r.name.into(),
            kind: r.kind.into(),
            namespaced: r.namespaced,
        },
        verbs: r.verbs,
    });
    found.collect()
}
