//! `secrets` (v1).

use crate::fill::set_in;
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, count, name, text};
use crate::validate::config::{validate_secret, validate_secret_update};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use meta::Object;
use serde_json::{Map, Value};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Secret", "secrets")
        .table(&["Name", "Type", "Data", "Age"], row)
        .field("type")
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: validate_secret,
    warnings: crate::validate::warnings::secret,
    update: Update { prepare: keep_type, validate: validate_secret_update, ..WHOLE },
    ..PLAIN
};

/// `stringData` is write-only: it goes into `data`.
fn default(o: &mut Object) {
    if o.str(&["type"]).is_empty() {
        o.body.insert("type".into(), "Opaque".into());
    }
    let Some(Value::Object(plain)) = o.body.remove("stringData") else { return };
    set_in(&mut o.body, "data", Map::new());
    if let Some(Value::Object(data)) = o.body.get_mut("data") {
        for (key, text) in plain {
            let text = BASE64_STANDARD.encode(text.as_str().unwrap_or_default());
            data.insert(key, text.into());
        }
    }
}

/// An update without a type keeps the old one.
fn keep_type(new: &mut Object, old: &Object, _: &crate::Context) {
    if new.str(&["type"]).is_empty() {
        new.body.insert("type".into(), old.str(&["type"]).into());
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), text(o, &["type"]), count(o, &["data"]).into(), age(o, now)]
}
