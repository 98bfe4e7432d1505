//! Creates and starts one container (`startContainer` of `pkg/kubelet/kuberuntime`).

use super::{Context, disk, handler};
use crate::core::container::{self, Parts};
use crate::core::env::{self, Sources};
use crate::core::podspec::{self, Role};
use crate::core::security::ImageUser;
use crate::core::{Failure, Note, Outcome, sandbox};
use crate::volumes;
use cri::{
    CreateContainerRequest, ImageSpec, ImageStatusRequest, StartContainerRequest, StopContainerRequest,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::sync::Arc;
use std::time::Instant;

/// What is to be started.
pub(crate) struct What {
    pub name: String,
    pub role: Role,
    pub restart_count: u32,
    pub sandbox: String,
    pub ips: Vec<String>,
    pub image_ref: String,
}

struct Starting<'a> {
    ctx: &'a Arc<Context>,
    pod: &'a Arc<Pod>,
    container: Container,
    what: What,
}

/// Starts a container. The outcome tells what the runtime shows of it, whatever happened.
pub(crate) async fn start(ctx: &Arc<Context>, pod: &Arc<Pod>, what: What) -> Outcome {
    let name = what.name.clone();
    let Some((container, _)) = podspec::find_container(pod, &name) else {
        let f = Failure { reason: "CreateContainerConfigError", message: format!("no container {name:?}") };
        return Outcome::Started(name, None, Err(f));
    };
    let mut s = Starting { ctx, pod, container, what };
    let (id, result) = match s.create().await {
        Ok(id) => {
            let r = s.run(&id).await;
            (Some(id), r)
        }
        Err(f) => (None, Err(f)),
    };
    let seen = match &id {
        Some(id) => ctx.observe_container(id).await.ok().flatten(),
        None => None,
    };
    Outcome::Started(name, seen, result)
}

impl Starting<'_> {
    fn tell(&self, n: Note) {
        self.ctx.teller.pod(self.pod, n.of(self.what.role, &self.what.name));
    }

    fn fail(&self, reason: &'static str, message: String) -> Failure {
        self.tell(Note::warning("Failed", format!("Error: {message}")));
        Failure { reason, message }
    }

    async fn create(&mut self) -> Result<String, Failure> {
        const CONFIG: &str = "CreateContainerConfigError";
        let parts = self.parts().await.map_err(|e| self.fail(CONFIG, e))?;
        let config = container::config(self.pod, &self.container, parts, &self.ctx.settings);
        let config = config.map_err(|e| self.fail(CONFIG, e))?;
        let attempt = self.sandbox_attempt();
        let (sandbox, _) =
            sandbox::config(self.pod, attempt, &self.ctx.settings).map_err(|e| self.fail(CONFIG, e))?;
        let logs = format!("{}/{}", sandbox.log_directory, self.what.name);
        disk::make_dir(logs, 0o755).await.map_err(|e| self.fail(CONFIG, e))?;
        let request = CreateContainerRequest {
            pod_sandbox_id: self.what.sandbox.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox),
        };
        let asked = Instant::now();
        let made = self.ctx.runtime.create_container(request).await;
        tracing::debug!(container = self.what.name, took = ?asked.elapsed(), "created");
        let made = made.map_err(|e| self.fail("CreateContainerError", e.message))?;
        self.tell(Note::normal("Created", "Container created"));
        Ok(made.container_id)
    }

    fn sandbox_attempt(&self) -> u32 {
        let handle = self.ctx.pod(podspec::uid(self.pod));
        handle.and_then(|h| h.observed.sandbox().map(|s| s.attempt)).unwrap_or(0)
    }

    async fn run(&self, id: &str) -> Result<(), Failure> {
        let request = StartContainerRequest { container_id: id.to_owned() };
        let asked = Instant::now();
        let started = self.ctx.runtime.start_container(request).await;
        tracing::debug!(container = self.what.name, took = ?asked.elapsed(), "started");
        started.map_err(|e| self.fail("RunContainerError", e.message))?;
        self.tell(Note::normal("Started", "Container started"));
        let hook = self.container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        let Some(hook) = hook else { return Ok(()) };
        let ip = self.what.ips.first().map(String::as_str).unwrap_or_default();
        let Err(message) = handler::run(self.ctx, self.pod, &self.container, id, ip, hook).await else {
            return Ok(());
        };
        self.tell(Note::warning("FailedPostStartHook", "PostStartHook failed"));
        self.tell(Note::normal("Killing", "FailedPostStartHook"));
        let spec = podspec::spec(self.pod).termination_grace_period_seconds;
        let timeout = spec.unwrap_or(crate::core::termination::MIN_GRACE);
        let stop = StopContainerRequest { container_id: id.to_owned(), timeout };
        if let Err(e) = self.ctx.runtime.stop_container(stop).await {
            tracing::warn!(container = id, "cannot stop a container whose hook failed: {e}");
        }
        Err(Failure { reason: "PostStartHookError", message })
    }

    async fn parts(&mut self) -> Result<Parts, String> {
        let around = crate::core::downward::Surroundings {
            pod_ips: match podspec::host_network(self.pod) {
                true => self.ctx.around.host_ips.clone(),
                false => self.what.ips.clone(),
            },
            ..self.ctx.around.clone()
        };
        let sources = self.sources().await?;
        let env = env::environment(self.pod, &self.container, &sources, &around)?;
        let mounts =
            volumes::container_mounts(self.ctx, self.pod, &self.container, &env, &around.pod_ips).await?;
        let image_user = self.image_user().await?;
        let target = container::target_name(self.pod, &self.what.name).map(str::to_owned);
        let target = match target {
            None => None,
            Some(name) => Some(self.target(&name)?),
        };
        Ok(Parts {
            role: self.what.role,
            restart_count: self.what.restart_count,
            image_ref: self.what.image_ref.clone(),
            image_user,
            env,
            mounts,
            target,
        })
    }

    fn target(&self, name: &str) -> Result<String, String> {
        let handle = self.ctx.pod(podspec::uid(self.pod));
        let found = handle.and_then(|h| h.observed.container(name).map(|o| o.id.clone()));
        found.ok_or_else(|| format!("unable to find target container {name}"))
    }

    async fn sources(&self) -> Result<Sources, String> {
        let ns = podspec::namespace(self.pod);
        let (maps, secrets) = env::references(&self.container);
        let mut out = Sources { services: self.ctx.objects.services(ns).await, ..Sources::default() };
        for (volume, path) in env::file_references(&self.container) {
            let text = volumes::file_text(self.ctx, self.pod, &volume, &path).await;
            out.files.insert((volume, path), text);
        }
        for name in maps {
            if let Some(m) = self.ctx.objects.config_map(ns, &name).await? {
                out.config_maps.insert(name, m);
            }
        }
        for name in secrets {
            if let Some(s) = self.ctx.objects.secret(ns, &name).await? {
                out.secrets.insert(name, s);
            }
        }
        Ok(out)
    }

    async fn image_user(&self) -> Result<ImageUser, String> {
        let of_pod = podspec::spec(self.pod).security_context.as_ref().and_then(|s| s.run_as_user);
        let own = self.container.security_context.as_ref().and_then(|s| s.run_as_user);
        if own.or(of_pod).is_some() {
            return Ok(ImageUser { uid: None, name: String::new() });
        }
        if let Some(known) = self.ctx.image_user(&self.what.image_ref) {
            return Ok(known);
        }
        let image = ImageSpec { image: self.what.image_ref.clone(), ..ImageSpec::default() };
        let request = ImageStatusRequest { image: Some(image), verbose: false };
        let answer = self.ctx.runtime.image_status(request).await.map_err(|e| e.to_string())?;
        let missing = || format!("unable to inspect image {:?}: it is not there", self.what.image_ref);
        answer.image.as_ref().map(ImageUser::of).ok_or_else(missing)
    }
}
