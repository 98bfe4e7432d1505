//! DefaultTolerationSeconds: a pod stays for five minutes on a node that went away
//! (`plugin/pkg/admission/defaulttolerationseconds`).

use crate::json::{items, list_mut, spec, text};
use crate::{Operation, Plugin, Request, View};
use meta::Status;
use serde_json::json;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(crate) struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, r: &Request) -> bool {
        matches!(r.operation, Operation::Create | Operation::Update) && r.is("", "pods")
    }

    fn mutate(&self, r: &mut Request, _view: &dyn View) -> Result<(), Status> {
        let Some(pod) = &mut r.object else { return Ok(()) };
        for taint in TAINTS {
            let tolerated = items(spec(pod), &["tolerations"]).iter().any(|t| {
                let (key, effect) = (text(t, &["key"]), text(t, &["effect"]));
                (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            });
            if tolerated {
                continue;
            }
            if let Some(list) = pod.body.get_mut("spec").and_then(|s| list_mut(s, "tolerations")) {
                list.push(json!({"key": taint, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": SECONDS}));
            }
        }
        Ok(())
    }
}
