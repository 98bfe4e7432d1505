"""An operator on kopf, a framework that is not ours: what it does is told in the objects it writes.

For each Bell it makes a ConfigMap (an owned child), counts its timer's ticks in the status, notices changes field by
field, and holds the Bell with a finalizer until it has taken it down.
"""

import kopf
import kubernetes


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    kubernetes.config.load_kube_config()
    settings.peering.name = "bells"
    settings.peering.mandatory = True
    settings.persistence.finalizer = "kopf.example/finalizer"


def core():
    return kubernetes.client.CoreV1Api()


@kopf.on.create("bells")
def create(name, namespace, spec, **_):
    body = {"metadata": {"name": f"{name}-tone", "labels": {"bell": name}}, "data": {"tone": spec["tone"]}}
    kopf.adopt(body)
    core().create_namespaced_config_map(namespace, body)
    return {"child": body["metadata"]["name"]}


@kopf.on.update("bells", field="spec.tone")
def update(name, namespace, old, new, body, patch, **_):
    core().patch_namespaced_config_map(f"{name}-tone", namespace, {"data": {"tone": new}})
    patch.status["changed"] = f"{old} to {new}"
    kopf.info(body, reason="Retuned", message=f"from {old} to {new}")


@kopf.on.delete("bells")
def delete(name, namespace, **_):
    core().create_namespaced_config_map(namespace, {"metadata": {"name": f"{name}-was-taken-down"}})


@kopf.timer("bells", interval=0.5)
def tick(status, patch, **_):
    patch.status["ticks"] = (status.get("ticks") or 0) + 1


@kopf.on.event("configmaps", labels={"bell": kopf.PRESENT})
def seen(name, event, logger, **_):
    logger.info(f"seen {event['type']} {name}")
