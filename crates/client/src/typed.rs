//! Typed access to one kind.

use crate::Resource;
use crate::access::Client;
use crate::call::{Call, DeleteOptions, ListOptions, PatchKind};
use crate::error::Error;
use api::{Kind, MetaExt};
use std::marker::PhantomData;

/// Access to the objects of kind `K` in one namespace, or in all (reads only).
#[derive(Clone)]
pub struct Api<K> {
    client: Client,
    namespace: String,
    kind: PhantomData<fn() -> K>,
}

fn decoded<K: Kind>(bytes: &[u8]) -> Result<K, Error> {
    K::decode(bytes).map_err(|e| Error::Decode(e.to_string()))
}

impl<K: Kind> Api<K> {
    /// Across all namespaces, or of a cluster-scoped kind.
    pub fn all(client: &Client) -> Self {
        Self::namespaced(client, "")
    }

    /// In one namespace.
    pub fn namespaced(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.to_owned(), kind: PhantomData }
    }

    /// One object.
    pub async fn get(&self, name: &str) -> Result<K, Error> {
        decoded(&self.client.get(&Resource::of::<K>(), &self.namespace, name).await?)
    }

    /// One object; none where it isn't there.
    pub async fn find(&self, name: &str) -> Result<Option<K>, Error> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All objects that `options` selects, page after page where it sets a limit, and their revision.
    pub async fn list(&self, options: &ListOptions) -> Result<(Vec<K>, u64), Error> {
        let (mut options, mut all) = (options.clone(), Vec::new());
        loop {
            let page = self.client.list(&Resource::of::<K>(), &self.namespace, &options).await?;
            for item in &page.items {
                all.push(decoded(item.get().as_bytes())?);
            }
            if page.continue_token.is_empty() {
                return Ok((all, page.revision));
            }
            options.continue_token = page.continue_token;
            options.resource_version.clear();
        }
    }

    /// Creates `object`.
    pub async fn create(&self, object: &K) -> Result<K, Error> {
        decoded(&self.client.create(&Resource::of::<K>(), &self.namespace, object.encode()).await?)
    }

    /// Replaces the object by `object`; its `resourceVersion`, where set, must still be the current one.
    pub async fn update(&self, object: &K) -> Result<K, Error> {
        self.update_sub(object, "").await
    }

    /// Replaces the object's status.
    pub async fn update_status(&self, object: &K) -> Result<K, Error> {
        self.update_sub(object, "status").await
    }

    async fn update_sub(&self, object: &K, sub: &str) -> Result<K, Error> {
        let r = Resource::of::<K>();
        let call = Call::update(&r, &self.namespace, object.name(), sub, object.encode());
        decoded(&self.client.send(call).await?)
    }

    /// Patches the object, or (not empty) a subresource of it.
    pub async fn patch(
        &self,
        name: &str,
        subresource: &str,
        kind: PatchKind,
        body: &serde_json::Value,
    ) -> Result<K, Error> {
        let place = (self.namespace.as_str(), name, subresource);
        decoded(&self.client.patch(&Resource::of::<K>(), place, kind, body.to_string()).await?)
    }

    /// Server-side apply of `object` by `manager`.
    pub async fn apply(&self, object: &K, manager: &str, force: bool) -> Result<K, Error> {
        let r = Resource::of::<K>();
        let call = Call::apply(&r, &self.namespace, object.name(), manager, force, object.encode());
        decoded(&self.client.send(call).await?)
    }

    /// Deletes the object; one that isn't there is an error (see [`Error::is_not_found`]).
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<(), Error> {
        self.client.delete(&Resource::of::<K>(), &self.namespace, name, options).await?;
        Ok(())
    }
}
