//! CustomResourceDefinitions
//! (`k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation`, and `.../apiserver/schema` for what makes a
//! schema structural). Whether its CEL rules compile is the API server's to say.

use super::at::{At, Faults, Unique};
use super::immutable;
use meta::names::{dns1035_label, dns1123_subdomain};
use meta::{FieldError, FieldPath, Object};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 9] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password", "int-or-string"];
/// Most selectable fields of a version.
const SELECTABLE_MAX: usize = 8;

fn joined_label(at: &At<'_>, text: &str, before: &str, faults: &mut Faults) {
    let rule = dns1035_label(text);
    if !at.is_empty() && !rule.is_empty() {
        faults.push(at.invalid(format!("{before}{}", rule.join(","))));
    }
}

/// A CustomResourceDefinition.
pub(crate) fn validate_definition(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let (group, plural) = (spec.get("group"), spec.get("names").get("plural"));
    if o.metadata.name != format!("{}.{}", plural.str(), group.str()) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        faults.push(FieldError::invalid(&FieldPath::new("metadata.name"), o.metadata.name.as_str(), why));
    }
    if group.required(&mut faults) {
        let rule = dns1123_subdomain(group.str());
        if !rule.is_empty() {
            faults.push(group.invalid(rule.join(",")));
        } else if !group.str().contains('.') {
            faults.push(group.invalid("should be a domain with at least one dot"));
        }
    }
    spec.get("scope").one_of(&["Cluster", "Namespaced"], &mut faults);
    if spec.get("preserveUnknownFields").flag() {
        faults.push(spec.get("preserveUnknownFields").invalid("must be false"));
    }
    versions(&spec, &mut faults);
    names(&spec.get("names"), &mut faults);
    conversion(&spec.get("conversion"), &mut faults);
    faults
}

fn versions(spec: &At<'_>, faults: &mut Faults) {
    let list = spec.get("versions");
    let mut seen = Unique::default();
    let mut stored = 0;
    let mut unique = true;
    for version in list.items() {
        stored += usize::from(version.get("storage").flag());
        unique &= !seen.has(version.get("name").str());
        let name = version.get("name");
        let rule = dns1035_label(name.str());
        if !rule.is_empty() {
            faults.push(FieldError::invalid(&name.path(), name.str(), rule.join(",")));
        }
        one_version(&version, faults);
    }
    if !unique {
        faults.push(list.invalid("must contain unique version names"));
    }
    if stored != 1 {
        faults.push(list.invalid("must have exactly one version marked as storage version"));
    }
}

fn one_version(version: &At<'_>, faults: &mut Faults) {
    let warning = version.get("deprecationWarning");
    if warning.is_set() && !version.get("deprecated").flag() {
        faults.push(warning.invalid("can only be set for deprecated versions"));
    }
    let schema = version.get("schema").get("openAPIV3Schema");
    if !schema.is_set() {
        faults.push(schema.missing("schemas are required"));
    } else {
        root(&schema, version.get("subresources").get("status").is_set(), faults);
    }
    for column in version.get("additionalPrinterColumns").items() {
        column.get("name").required(faults);
        let (kind, format) = (column.get("type"), column.get("format"));
        let types = format!("must be one of {}", COLUMN_TYPES.join(","));
        if kind.is_empty() {
            faults.push(kind.missing(types));
        } else if !COLUMN_TYPES.contains(&kind.str()) {
            faults.push(kind.invalid(types));
        }
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format.str()) {
            faults.push(format.invalid(format!("must be one of {}", COLUMN_FORMATS.join(","))));
        }
        let path = At::new(column.get("jsonPath").value(), column.path().child("JSONPath"));
        if path.required(faults) {
            simple_path(&path, faults);
        }
    }
    scale(&version.get("subresources"), faults);
    let fields = version.get("selectableFields");
    if fields.len() > SELECTABLE_MAX {
        faults.push(FieldError::too_many(&fields.path(), fields.len(), SELECTABLE_MAX));
    }
    for field in fields.items().map(|f| f.get("jsonPath")) {
        if field.required(faults) {
            simple_path(&field, faults);
        }
    }
}

/// A path of fields and quoted keys, from the root: `.spec.a`.
fn simple_path(at: &At<'_>, faults: &mut Faults) {
    let text = at.str();
    if !text.starts_with('.') || text.contains("..") || text.contains("[*]") || text.contains("[?") {
        faults.push(at.invalid("is an invalid path: only a simple json path with . notation is supported"));
    }
}

fn scale(subresources: &At<'_>, faults: &mut Faults) {
    let scale = subresources.get("scale");
    if !scale.is_set() {
        return;
    }
    let paths: [(&str, &str, &[&str]); 2] =
        [("specReplicasPath", ".spec", &[".spec."]), ("statusReplicasPath", ".status", &[".status."])];
    for (key, below, prefixes) in paths {
        let at = scale.get(key);
        if at.required(faults) && !prefixes.iter().any(|p| at.str().starts_with(p)) {
            faults.push(at.invalid(format!("should be a json path under {below}")));
        }
    }
    let selector = scale.get("labelSelectorPath");
    if !selector.is_empty() && ![".spec.", ".status."].iter().any(|p| selector.str().starts_with(p)) {
        faults.push(selector.invalid("should be a json path under either .spec or .status"));
    }
}

fn names(names: &At<'_>, faults: &mut Faults) {
    for key in ["plural", "singular", "kind", "listKind"] {
        let at = names.get(key);
        at.required(faults);
        let mixed = key.ends_with("ind");
        let before = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
        joined_label(&at, &at.str().to_lowercase(), before, faults);
        if !mixed && at.str() != at.str().to_lowercase() {
            joined_label(&at, at.str(), before, faults);
        }
    }
    for list in ["shortNames", "categories"] {
        names.get(list).items().for_each(|at| joined_label(&at, at.str(), "", faults));
    }
    if !names.get("kind").is_empty() && names.get("kind").str() == names.get("listKind").str() {
        faults.push(names.get("listKind").invalid("kind and listKind may not be the same"));
    }
}

fn conversion(conversion: &At<'_>, faults: &mut Faults) {
    if !conversion.is_set() {
        return;
    }
    let (strategy, webhook) = (conversion.get("strategy"), conversion.get("webhook"));
    strategy.one_of(&["None", "Webhook"], faults);
    if strategy.str() != "Webhook" {
        if webhook.is_set() {
            let at = conversion.named("webhookClientConfig");
            faults.push(at.forbidden("should not be set when strategy is not set to Webhook"));
        }
        return;
    }
    let config = webhook.get("clientConfig");
    let at = At::new(config.value(), conversion.path().child("webhookClientConfig"));
    if !config.is_set() {
        faults.push(at.missing("required when strategy is set to Webhook"));
    } else if config.get("url").is_set() == config.get("service").is_set() {
        faults.push(at.missing("exactly one of url or service is required"));
    }
    let reviews = webhook.get("conversionReviewVersions");
    let at = At::new(reviews.value(), conversion.path().child("conversionReviewVersions"));
    if reviews.len() == 0 {
        faults.push(at.missing(""));
    } else if !reviews.items().any(|v| matches!(v.str(), "v1" | "v1beta1")) {
        faults.push(at.invalid("must include at least one of v1, v1beta1"));
    }
}

fn root(schema: &At<'_>, _status: bool, faults: &mut Faults) {
    let kind = schema.get("type");
    if kind.is_empty() {
        faults.push(kind.missing("must not be empty at the root"));
    } else if kind.str() != "object" {
        faults.push(kind.invalid("must be object at the root"));
    }
    if schema.get("x-kubernetes-preserve-unknown-fields").value() == &serde_json::Value::Bool(false) {
        let at = schema.get("x-kubernetes-preserve-unknown-fields");
        faults.push(at.invalid("must be true or undefined"));
    }
    node(schema, 0, faults);
}

/// Deepest schema that is looked through; no request's nesting gets there.
const DEPTH_MAX: usize = 128;

/// What a structural schema says at each level.
fn node(schema: &At<'_>, depth: usize, faults: &mut Faults) {
    if depth > DEPTH_MAX {
        faults.push(schema.forbidden(format!("must not nest deeper than {DEPTH_MAX} levels")));
        return;
    }
    own_words(schema, faults);
    for (_, property) in schema.get("properties").entries() {
        typed(&property, "specified object fields", faults);
        node(&property, depth + 1, faults);
    }
    let items = schema.get("items");
    if items.value().is_object() {
        typed(&items, "specified array items", faults);
        node(&items, depth + 1, faults);
    } else if items.value().is_array() {
        faults.push(items.forbidden("items must be a schema object and not an array"));
    }
    let more = schema.get("additionalProperties");
    if more.value().is_object() {
        typed(&more, "specified object fields", faults);
        node(&more, depth + 1, faults);
        if !schema.get("properties").is_empty() {
            faults.push(more.forbidden("additionalProperties and properties are mutual exclusive"));
        }
    } else if more.value() == &serde_json::Value::Bool(false) {
        faults.push(more.forbidden("additionalProperties cannot be set to false"));
    }
}

fn typed(schema: &At<'_>, place: &str, faults: &mut Faults) {
    let kind = schema.get("type");
    let free = ["x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"]
        .iter()
        .any(|key| schema.get(key).flag());
    if kind.is_empty() && !free {
        faults.push(kind.missing(format!("must not be empty for {place}")));
    }
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

fn own_words(schema: &At<'_>, faults: &mut Faults) {
    let kind = schema.get("type");
    if !kind.is_empty() && !TYPES.contains(&kind.str()) {
        faults.push(FieldError::not_supported(&kind.path(), kind.str(), &TYPES));
    }
    for key in ["definitions", "dependencies", "patternProperties", "additionalItems"] {
        let at = schema.get(key);
        if at.is_set() {
            faults.push(at.forbidden(format!("{key} is not supported")));
        }
    }
    if schema.get("uniqueItems").flag() {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        faults.push(schema.get("uniqueItems").forbidden(why));
    }
    if schema.get("$ref").is_set() {
        faults.push(schema.get("$ref").forbidden("$ref is not supported"));
    }
    let list = schema.get("x-kubernetes-list-type");
    let keys = schema.get("x-kubernetes-list-map-keys");
    if list.is_set() {
        list.known(&["atomic", "map", "set"], faults);
        if kind.str() != "array" {
            let why = "must be array if x-kubernetes-list-type is specified";
            faults.push(FieldError::invalid(&kind.path(), kind.str(), why));
        }
    }
    if list.str() == "map" && keys.len() == 0 {
        faults.push(keys.missing("must not be empty if x-kubernetes-list-type is map"));
    }
    if keys.len() > 0 && list.str() != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        faults.push(FieldError::invalid(&list.path(), list.str(), why));
    }
    let items = schema.get("items").get("properties");
    for key in keys.items().filter(|key| items.value().get(key.str()).is_none()) {
        faults.push(key.invalid("entries must all be names of item properties"));
    }
    schema.get("x-kubernetes-map-type").optional_one_of(&["atomic", "granular"], faults);
    if let Some(pattern) = schema.get("pattern").value().as_str()
        && let Err(why) = regex::Regex::new(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {}", first_line(&why.to_string()));
        faults.push(schema.get("pattern").invalid(why));
    }
}

fn first_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

/// A change: group and names stay, and the versions that objects are stored in stay too.
pub(crate) fn validate_definition_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    let path = FieldPath::new("spec");
    let established = crate::table::items(old, &["status", "conditions"])
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    if established {
        faults.extend(immutable(new, old, &["spec", "scope"], &path.child("scope")));
        faults.extend(immutable(new, old, &["spec", "names", "kind"], &path.child("names.kind")));
    }
    faults.extend(immutable(new, old, &["spec", "group"], &path.child("group")));
    faults.extend(immutable(new, old, &["spec", "names", "plural"], &path.child("names.plural")));
    let versions: Vec<&str> =
        crate::table::items(new, &["spec", "versions"]).iter().filter_map(|v| v["name"].as_str()).collect();
    for stored in At::top(new, "status").get("storedVersions").items() {
        if !versions.contains(&stored.str()) {
            let why = "missing from spec.versions; ".to_owned()
                + stored.str()
                + " was previously a storage version, and must remain in spec.versions until a storage migration \
                   ensures no data remains persisted in "
                + stored.str()
                + " and removes "
                + stored.str()
                + " from status.storedVersions";
            faults.push(stored.invalid(why));
        }
    }
    faults
}
