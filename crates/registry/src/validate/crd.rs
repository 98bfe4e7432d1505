//! Custom resource definitions (`apiextensions-apiserver/pkg/apis/apiextensions/validation`).
//!
//! Upstream keeps what all versions have in common once, so the paths of such faults are `spec.validation`,
//! `spec.subresources` and `spec.additionalPrinterColumns`.

use super::at::{At, Faults, Unique};
use super::webhooks::{address, service_reference};
use meta::{FieldError, FieldPath, Object, names};
use serde_json::Value;

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const MAX_SELECTABLE_FIELDS: usize = 8;
const MAX_WARNING: usize = 256;
const IMMUTABLE: &str = "field is immutable";
const APPROVAL: &str = "api-approved.kubernetes.io";
const APPROVAL_RULE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// Validates a new definition.
pub(crate) fn validate_definition(o: &Object) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let wanted = format!("{}.{}", spec.get("names").get("plural").str(), spec.get("group").str());
    if o.metadata.name != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        faults.push(FieldError::invalid(&FieldPath::new("metadata.name"), o.metadata.name.as_str(), why));
    }
    definition(o, &mut faults);
    approval(o, &mut faults);
    faults
}

/// Validates a changed definition. What didn't change isn't looked at again, so that a definition that an older
/// server took stays usable.
pub(crate) fn validate_definition_update(new: &Object, old: &Object) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let (spec, before) = (At::top(new, "spec"), At::top(old, "spec"));
    if spec.value() != before.value() {
        definition(new, &mut faults);
    } else {
        status(new, &mut faults);
    }
    let conditions = At::top(old, "status").get("conditions");
    let established =
        conditions.items().any(|c| c.get("type").str() == "Established" && c.get("status").str() == "True");
    let mut fixed = vec![(spec.get("group"), before.get("group"))];
    fixed.push((spec.get("names").get("plural"), before.get("names").get("plural")));
    if established {
        fixed.push((spec.get("scope"), before.get("scope")));
        fixed.push((spec.get("names").get("kind"), before.get("names").get("kind")));
    }
    for (now, then) in fixed {
        if now.value() != then.value() {
            faults.push(now.invalid(IMMUTABLE));
        }
    }
    if new.metadata.annotations.get(APPROVAL) != old.metadata.annotations.get(APPROVAL) {
        approval(new, &mut faults);
    }
    faults
}

fn definition(o: &Object, faults: &mut Faults) {
    let spec = At::top(o, "spec");
    let group = spec.get("group");
    if group.required(faults) {
        let wrong = names::dns1123_subdomain(group.str());
        if !wrong.is_empty() {
            faults.push(group.invalid(wrong.join(",")));
        } else if !group.str().contains('.') {
            faults.push(group.invalid("should be a domain with at least one dot"));
        }
    }
    spec.get("scope").one_of(&["Cluster", "Namespaced"], faults);
    if spec.get("preserveUnknownFields").flag() {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        faults.push(spec.get("preserveUnknownFields").invalid(why));
    }
    versions(&spec, faults);
    for field in ["plural", "singular", "kind", "listKind"] {
        spec.get("names").get(field).required(faults);
    }
    kind_names(&spec.get("names"), faults);
    conversion(&spec.get("conversion"), faults);
    status(o, faults);
}

fn versions(spec: &At<'_>, faults: &mut Faults) {
    let (list, mut unique) = (spec.get("versions"), Unique::default());
    for version in list.items() {
        if version.get("schema").get("openAPIV3Schema").is_empty() {
            version.get("schema").get("openAPIV3Schema").required(faults);
        }
    }
    let mut repeated = false;
    for version in list.items() {
        let name = version.get("name");
        repeated |= unique.has(name.str());
        let wrong = names::dns1035_label(name.str());
        if !wrong.is_empty() {
            faults.push(name.invalid(wrong.join(",")));
        }
        warning(&version, faults);
    }
    for part in ["schema", "subresources", "additionalPrinterColumns", "selectableFields"] {
        per_version(spec, part, faults);
    }
    if repeated {
        faults.push(list.invalid("must contain unique version names"));
    }
    if list.items().filter(|v| v.get("storage").flag()).count() != 1 {
        faults.push(list.invalid("must have exactly one version marked as storage version"));
    }
}

/// Checks one part of all versions: once where it is the same in all of them.
fn per_version(spec: &At<'_>, part: &'static str, faults: &mut Faults) {
    let all: Vec<At<'_>> = spec.get("versions").items().collect();
    let Some(first) = all.first() else { return };
    let same = all.iter().all(|v| v.get(part).value() == first.get(part).value());
    let common = if part == "schema" { "validation" } else { part };
    let places: Vec<(At<'_>, &At<'_>)> = match same {
        true => vec![(At::new(first.get(part).value(), spec.path().child(common)), first)],
        false => all.iter().map(|v| (v.get(part), v)).collect(),
    };
    for (at, version) in places.into_iter().filter(|(at, _)| at.is_set()) {
        match part {
            "schema" => {
                let schema = at.get("openAPIV3Schema");
                if !schema.is_empty() {
                    faults.extend(schema::check_custom(schema.value(), &schema.path()));
                }
            }
            "subresources" => scale(&at.get("scale"), faults),
            "additionalPrinterColumns" => at.items().for_each(|c| column(&c, faults)),
            _ => selectable(&at, version.get("schema").get("openAPIV3Schema").value(), faults),
        }
    }
}

fn warning(version: &At<'_>, faults: &mut Faults) {
    let text = version.get("deprecationWarning");
    if !text.is_set() {
        return;
    }
    if !version.get("deprecated").flag() {
        faults.push(text.invalid("can only be set for deprecated versions"));
        return;
    }
    if text.str().len() > MAX_WARNING {
        faults.push(text.invalid("must be <= 256 characters long"));
    }
    if text.str().is_empty() {
        faults.push(text.invalid("must not be an empty string"));
    }
    if let Some(i) = text.str().char_indices().find(|(_, c)| c.is_control()).map(|(i, _)| i) {
        let why = "must only contain printable UTF-8 characters; non-printable character found at index";
        faults.push(text.invalid(format!("{why} {i}")));
    }
}

/// A path in dot notation. True if it is one.
fn simple_path(at: &At<'_>, faults: &mut Faults) -> bool {
    let good = at.str().starts_with('.');
    if !good {
        faults.push(at.invalid("must be a simple json path starting with ."));
    }
    good
}

fn scale(scale: &At<'_>, faults: &mut Faults) {
    if !scale.is_set() {
        return;
    }
    let mut check = |field, roots: &[&str], why: &str| {
        let at = scale.get(field);
        if simple_path(&at, faults) && !roots.iter().any(|r| at.str().starts_with(r)) {
            faults.push(at.invalid(why));
        }
    };
    if !scale.get("specReplicasPath").is_empty() {
        check("specReplicasPath", &[".spec."], "should be a json path under .spec");
    }
    if !scale.get("statusReplicasPath").is_empty() {
        check("statusReplicasPath", &[".status."], "should be a json path under .status");
    }
    if !scale.get("labelSelectorPath").is_empty() {
        let why = "should be a json path under either .spec or .status";
        check("labelSelectorPath", &[".spec.", ".status."], why);
    }
    scale.get("specReplicasPath").required(faults);
    scale.get("statusReplicasPath").required(faults);
}

fn column(c: &At<'_>, faults: &mut Faults) {
    c.get("name").required(faults);
    let one_of = |words: &[&str]| format!("must be one of {}", words.join(","));
    let (ty, format) = (c.get("type"), c.get("format"));
    if ty.is_empty() {
        faults.push(ty.missing(one_of(&COLUMN_TYPES)));
    } else if !COLUMN_TYPES.contains(&ty.str()) {
        faults.push(ty.invalid(one_of(&COLUMN_TYPES)));
    }
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format.str()) {
        faults.push(format.invalid(one_of(&COLUMN_FORMATS)));
    }
    let path = At::new(c.get("jsonPath").value(), c.path().child("JSONPath"));
    if path.required(faults) {
        simple_path(&path, faults);
    }
}

fn selectable(fields: &At<'_>, schema: &Value, faults: &mut Faults) {
    let mut unique = Unique::default();
    let mut count = 0;
    for field in fields.items() {
        let path = field.get("jsonPath");
        if !path.required(faults) {
            continue;
        }
        let Some(steps) = path.str().strip_prefix('.') else {
            let first = path.str().split(['.', '[', ']']).next().unwrap_or_default();
            faults.push(path.invalid(format!("is an invalid path: expected [ or . but got: {first}")));
            continue;
        };
        let steps: Vec<&str> = steps.split('.').collect();
        let found = steps.iter().try_fold(schema, |s, step| s.get("properties")?.get(*step));
        match found {
            None => {
                faults.push(path.invalid("is an invalid path: does not refer to a valid field"));
                continue;
            }
            Some(_) if steps[0] == "metadata" => {
                faults.push(path.invalid("must not point to fields in metadata"));
            }
            Some(s) if !matches!(s["type"].as_str(), Some("string" | "boolean" | "integer")) => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                faults.push(path.invalid(why));
            }
            Some(_) => {}
        }
        count += 1;
        unique.check(&path, faults);
    }
    if count > MAX_SELECTABLE_FIELDS {
        faults.push(FieldError::too_many(&fields.path(), count, MAX_SELECTABLE_FIELDS));
    }
}

fn kind_names(at: &At<'_>, faults: &mut Faults) {
    let mut label = |at: At<'_>, mixed: bool| {
        let text = if mixed { at.str().to_lowercase() } else { at.str().to_owned() };
        let wrong = names::dns1035_label(&text).join(",");
        let prefix = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
        if !wrong.is_empty() {
            faults.push(FieldError::invalid(&at.path(), at.str(), format!("{prefix}{wrong}")));
        }
    };
    for (field, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        if !at.get(field).is_empty() {
            label(at.get(field), mixed);
        }
    }
    at.get("shortNames").items().for_each(|n| label(n, false));
    at.get("categories").items().for_each(|n| label(n, false));
    let list = at.get("listKind");
    if !list.is_empty() && list.str() == at.get("kind").str() {
        faults.push(list.invalid("kind and listKind may not be the same"));
    }
}

fn conversion(at: &At<'_>, faults: &mut Faults) {
    if !at.is_set() {
        return;
    }
    at.get("strategy").one_of(&["None", "Webhook"], faults);
    let webhook = at.get("webhook");
    let client = At::new(webhook.get("clientConfig").value(), at.path().child("webhookClientConfig"));
    if at.get("strategy").str() != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if client.is_set() {
            faults.push(client.forbidden(why));
        }
        let reviews = webhook.get("conversionReviewVersions");
        if reviews.is_set() {
            let reviews = At::new(reviews.value(), at.path().child("conversionReviewVersions"));
            faults.push(reviews.forbidden(why));
        }
        return;
    }
    if !client.is_set() {
        faults.push(client.missing("required when strategy is set to Webhook"));
    } else if client.get("url").is_set() == client.get("service").is_set() {
        faults.push(client.missing("exactly one of url or service is required"));
    } else if client.get("url").is_set() {
        address(&client.get("url"), faults);
    } else {
        service_reference(&client.get("service"), faults);
    }
    let reviews = webhook.get("conversionReviewVersions");
    let reviews = At::new(reviews.value(), at.path().child("conversionReviewVersions"));
    if reviews.required(faults) && !reviews.items().any(|v| matches!(v.str(), "v1" | "v1beta1")) {
        faults.push(reviews.invalid("must include at least one of v1, v1beta1"));
    }
}

fn status(o: &Object, faults: &mut Faults) {
    let status = At::top(o, "status");
    let (stored, spec) = (status.get("storedVersions"), At::top(o, "spec"));
    // The server accepts names at once; their faults are told of the wish.
    if status.get("acceptedNames").value() != spec.get("names").value() {
        kind_names(&status.get("acceptedNames"), faults);
    }
    if stored.is_empty() {
        faults.push(stored.invalid("must have at least one stored version"));
        return;
    }
    let versions: Vec<At<'_>> = spec.get("versions").items().collect();
    for v in versions.iter().filter(|v| v.get("storage").flag()) {
        let name = v.get("name").str();
        if !stored.items().any(|s| s.str() == name) {
            faults.push(stored.invalid(format!("must have the storage version {name}")));
        }
    }
    for s in stored.items() {
        let name = s.str();
        if !versions.iter().any(|v| v.get("name").str() == name) {
            faults.push(s.invalid(format!("missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions")));
        }
    }
}

/// Groups of the Kubernetes community need an annotation that names their approval.
fn approval(o: &Object, faults: &mut Faults) {
    let spec = At::top(o, "spec");
    let group = spec.get("group").str();
    let community = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|d| group.strip_suffix(d).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    if !community {
        return;
    }
    let path = FieldPath::new("metadata.annotations").key(APPROVAL);
    match o.metadata.annotations.get(APPROVAL).map(String::as_str) {
        None | Some("") => {
            let why = format!("protected groups must have approval annotation {APPROVAL:?}, {APPROVAL_RULE}");
            faults.push(FieldError::required(&path, why));
        }
        Some(text) if text.starts_with("unapproved") || text.contains("://") => {}
        Some(text) => {
            let why = format!(
                "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \"unapproved\", {APPROVAL_RULE}"
            );
            faults.push(FieldError::invalid(&path, text, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn crd(group: &str, spec: Value) -> Object {
        let mut all = json!({"group": group, "scope": "Namespaced",
            "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
            "conversion": {"strategy": "None"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]});
        for (k, v) in spec.as_object().unwrap() {
            all[k] = v.clone();
        }
        let name = format!("foos.{group}");
        let value = json!({"metadata": {"name": name}, "spec": all, "status": {"storedVersions": ["v1"]}});
        Object::from_value(value).unwrap()
    }

    fn faults(o: &Object) -> String {
        validate_definition(o).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn good() {
        assert_eq!(faults(&crd("x.io", json!({}))), "");
    }

    #[test]
    fn bad() {
        let schema = |s: Value| json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": s}}]);
        for (group, spec, want) in [
            ("io", json!({}), r#"spec.group: Invalid value: "io": should be a domain with at least one dot"#),
            (
                "x.io",
                json!({"scope": "Moon"}),
                r#"spec.scope: Unsupported value: "Moon": supported values: "Cluster", "Namespaced""#,
            ),
            (
                "x.io",
                json!({"versions": schema(json!({"type": "object", "properties": {"a": {}}}))}),
                "spec.validation.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
            ),
            (
                "x.io",
                json!({"versions": schema(Value::Null)}),
                "spec.versions[0].schema.openAPIV3Schema: Required value",
            ),
            (
                "y.k8s.io",
                json!({}),
                "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
            ),
        ] {
            assert_eq!(faults(&crd(group, spec)), want);
        }
    }

    #[test]
    fn names_are_immutable_once_established() {
        let mut old = crd("x.io", json!({}));
        old.set(&["status", "conditions"], json!([{"type": "Established", "status": "True"}]));
        let mut new = old.clone();
        new.set(&["spec", "scope"], "Cluster".into());
        let got = validate_definition_update(&new, &old);
        assert_eq!(got[0].to_string(), r#"spec.scope: Invalid value: "Cluster": field is immutable"#);
        assert!(validate_definition_update(&old, &old).is_empty());
    }
}
