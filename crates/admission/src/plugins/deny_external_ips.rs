//! DenyServiceExternalIPs: nobody takes over an address by naming it in a Service
//! (`plugin/pkg/admission/network/denyserviceexternalips`; CVE-2020-8554). Off by default upstream, on here.

use crate::json::{spec, strings};
use crate::{Operation, Plugin, Request, View};
use meta::{Object, Status};

pub(crate) struct DenyServiceExternalIPs;

impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn handles(&self, r: &Request) -> bool {
        matches!(r.operation, Operation::Create | Operation::Update) && r.is("", "services")
    }

    fn validate(&self, r: &mut Request, _view: &dyn View) -> Result<(), Status> {
        let ips = |o: &Option<Object>| -> Vec<String> {
            o.iter().flat_map(|o| strings(spec(o), &["externalIPs"])).map(str::to_owned).collect()
        };
        let (new, old) = (ips(&r.object), ips(&r.old));
        // Those that a service has from before may stay.
        if new.iter().all(|ip| old.contains(ip)) {
            return Ok(());
        }
        Err(r.forbidden("Use of external IPs is denied by admission control"))
    }
}
