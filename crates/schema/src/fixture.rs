//! Definitions for tests: what Deployment, Service, ConfigMap and Secret are made of (few volume types), marked as `registry` marks them by `data/go.txt`.

use crate::Schemas;
use std::sync::LazyLock;

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let definitions = serde_json::from_str(include_str!("fixture/definitions.json")).unwrap();
    Schemas::from_openapi(&definitions)
});

pub(crate) fn schemas() -> &'static Schemas {
    &SCHEMAS
}
