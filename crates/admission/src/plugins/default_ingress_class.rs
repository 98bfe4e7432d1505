//! DefaultIngressClass: an Ingress that names no class gets the default one
//! (`plugin/pkg/admission/network/defaultingressclass`).

use super::default_storage_class::newest_marked;
use crate::json::{at, spec};
use crate::{Operation, Plugin, Request, View};
use meta::Status;

const GROUP: &str = "networking.k8s.io";

pub(crate) struct DefaultIngressClass;

impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Create && r.is(GROUP, "ingresses")
    }

    fn mutate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let Some(ingress) = &mut r.object else { return Ok(()) };
        let has_class = ingress.metadata.annotations.contains_key("kubernetes.io/ingress.class")
            || !at(spec(ingress), &["ingressClassName"]).is_null();
        if has_class {
            return Ok(());
        }
        let classes = view.list(GROUP, "ingressclasses", "");
        if let Some(class) = newest_marked(classes, &["ingressclass.kubernetes.io/is-default-class"]) {
            ingress.set(&["spec", "ingressClassName"], class.metadata.name.as_str().into());
        }
        Ok(())
    }
}
