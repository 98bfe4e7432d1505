//! FlowSchemas and PriorityLevelConfigurations (`pkg/apis/flowcontrol/validation/validation.go`).

use super::at::{At, Faults, Unique};
use crate::bootstrap;
use meta::{FieldError, FieldPath, Object, names};
use serde_json::{Value, json};

const PRECEDENCE_MAX: i64 = 10_000;
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const QUEUES_MAX: i64 = 10_000_000;
/// Bits of a request's hash that may be used up by dealing it a hand of queues
/// (`apiserver/pkg/util/shufflesharding`).
const HASH_BITS_MAX: f64 = 60.0;
/// An annotation of v1beta3 that no other version may bear.
const ZERO_SHARES: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
const NOT_NEGATIVE: &str = "must be a non-negative integer";
const PERCENT: &str = "must be between 0 and 100, inclusive";

/// FlowSchema.
pub(crate) fn validate_flow_schema(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let (spec, name) = (At::top(o, "spec"), o.metadata.name.as_str());
    precedence(&spec.get("matchingPrecedence"), name, &mut faults);
    let method = spec.get("distinguisherMethod");
    if method.is_set() && !matches!(method.get("type").str(), "ByNamespace" | "ByUser") {
        let shown = json!({"Type": method.get("type").str()});
        let path = method.get("type").path();
        faults.push(FieldError::not_supported(&path, shown, &["ByNamespace", "ByUser"]));
    }
    let level = spec.get("priorityLevelConfiguration").get("name");
    match level.is_empty() {
        true => faults.push(level.missing("must reference a priority level")),
        false => level.rule(names::dns1123_subdomain, &mut faults),
    }
    spec.get("rules").items().for_each(|r| rule(&r, &mut faults));
    if let Some(fixed) = bootstrap::mandatory(o)
        && !same(spec.value(), &fixed, SCHEMA)
    {
        faults.push(fixed_spec(&spec, SCHEMA, &format!("spec of '{name}' must equal the fixed value")));
    }
    conditions(o, &mut faults);
    faults
}

fn precedence(precedence: &At<'_>, name: &str, faults: &mut Faults) {
    let number = precedence.int().unwrap_or(0);
    let mut say = |why: String| faults.push(FieldError::invalid(&precedence.path(), number, why));
    if number <= 0 {
        say("must be a positive value".into());
    }
    if number > PRECEDENCE_MAX {
        say(format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if number == 1 && name != "exempt" {
        say("only the schema named 'exempt' may have matchingPrecedence 1".into());
    }
}

fn rule(rule: &At<'_>, faults: &mut Faults) {
    let subjects = rule.get("subjects");
    if subjects.is_empty() {
        faults.push(subjects.missing("subjects must contain at least one value"));
    }
    subjects.items().for_each(|s| subject(&s, faults));
    let (resources, urls) = (rule.get("resourceRules"), rule.get("nonResourceRules"));
    if resources.is_empty() && urls.is_empty() {
        faults.push(rule.missing("at least one of resourceRules and nonResourceRules has to be non-empty"));
    }
    resources.items().for_each(|r| resource_rule(&r, faults));
    urls.items().for_each(|r| url_rule(&r, faults));
}

/// The kinds of subjects, each with the field that belongs to it.
const SUBJECTS: [(&str, &str); 3] =
    [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

fn subject(subject: &At<'_>, faults: &mut Faults) {
    let kind = subject.get("kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(known, _)| *known == kind.str()) else {
        return kind.known(&["Group", "ServiceAccount", "User"], faults);
    };
    let who = subject.get(own);
    match who.is_set() {
        false => {
            faults.push(who.missing(format!("{own} is required when subject kind is '{}'", kind.str())));
        }
        true if *own == "serviceAccount" => service_account(&who, faults),
        true => drop(who.get("name").required(faults)),
    }
    for (other, field) in SUBJECTS.iter().filter(|(_, field)| field != own) {
        if subject.get(field).is_set() {
            let why = format!("{field} is forbidden when subject kind is not '{other}'");
            faults.push(subject.get(field).forbidden(why));
        }
    }
}

fn service_account(who: &At<'_>, faults: &mut Faults) {
    let (name, namespace) = (who.get("name"), who.get("namespace"));
    if name.str() != "*" {
        name.required_rule(names::dns1123_subdomain, faults);
    }
    match namespace.is_empty() {
        true => faults.push(namespace.missing("must specify namespace for service account")),
        false => namespace.rule(names::dns1123_label, faults),
    }
}

/// `*` stands alone; whether it is there.
fn wildcard(list: &At<'_>, others: &str, faults: &mut Faults) -> bool {
    let all = list.items().any(|i| i.str() == "*");
    if all && list.len() > 1 {
        faults.push(list.invalid(format!("if '*' is present, must not specify other {others}")));
    }
    all
}

fn verbs(verbs: &At<'_>, faults: &mut Faults) {
    if verbs.is_empty() {
        faults.push(verbs.missing("verbs must contain at least one value"));
    } else if !wildcard(verbs, "verbs", faults) && verbs.items().any(|v| !VERBS.contains(&v.str())) {
        faults.push(FieldError::not_supported(&verbs.path(), verbs.value().clone(), &VERBS));
    }
}

fn url_rule(rule: &At<'_>, faults: &mut Faults) {
    verbs(&rule.get("verbs"), faults);
    let urls = rule.get("nonResourceURLs");
    if urls.is_empty() {
        faults.push(urls.missing("nonResourceURLs must contain at least one value"));
    } else if !wildcard(&urls, "non-resource URLs", faults) {
        for url in urls.items() {
            faults.extend(url_fault(url.str()).map(|why| FieldError::invalid(&url.path(), url.str(), why)));
        }
    }
}

fn url_fault(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

fn resource_rule(rule: &At<'_>, faults: &mut Faults) {
    verbs(&rule.get("verbs"), faults);
    for (field, one, others) in
        [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")]
    {
        let list = rule.get(field);
        match list.is_empty() {
            true => faults.push(list.missing(format!("resource rules must supply at least one {one}"))),
            false => drop(wildcard(&list, others, faults)),
        }
    }
    let namespaces = rule.get("namespaces");
    if namespaces.is_empty() && !rule.get("clusterScope").flag() {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        faults.push(namespaces.missing(why));
    } else if !wildcard(&namespaces, "namespaces", faults) {
        for namespace in namespaces.items() {
            let wrong = names::dns1123_label(namespace.str()).into_iter().map(|why| {
                let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                FieldError::invalid(&namespace.path(), namespace.str(), why)
            });
            faults.extend(wrong);
        }
    }
}

/// PriorityLevelConfiguration.
pub(crate) fn validate_priority_level(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let (spec, name) = (At::top(o, "spec"), o.metadata.name.as_str());
    if o.metadata.annotations.contains_key(ZERO_SHARES) {
        let why = format!("annotation '{ZERO_SHARES}' is forbidden");
        faults.push(FieldError::forbidden(&FieldPath::new("metadata.annotations"), why));
    }
    let kind = spec.get("type");
    if (name == "exempt") != (kind.str() == "Exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        faults.push(FieldError::invalid(&kind.path(), kind.str(), why));
    }
    level(&spec, &mut faults);
    if let Some(mut fixed) = bootstrap::mandatory(o) {
        let mut rule = format!("spec of '{name}' must equal the fixed value");
        if name == "exempt" {
            // What the level lends is the operator's business.
            fixed["exempt"] = spec.get("exempt").value().clone();
            rule = format!("spec of '{name}' except the 'spec.exempt' field must equal the fixed value");
        }
        if !same(spec.value(), &fixed, LEVEL) {
            faults.push(fixed_spec(&spec, LEVEL, &rule));
        }
    }
    conditions(o, &mut faults);
    faults
}

fn level(spec: &At<'_>, faults: &mut Faults) {
    let (limited, exempt) = (spec.get("limited"), spec.get("exempt"));
    match spec.get("type").str() {
        "Exempt" => {
            if limited.is_set() {
                faults.push(limited.forbidden("must be nil if the type is not Limited"));
            }
            at_least_zero(&exempt.get("nominalConcurrencyShares"), NOT_NEGATIVE, faults);
            percent(&exempt.get("lendablePercent"), faults);
        }
        "Limited" => {
            if exempt.is_set() {
                faults.push(exempt.forbidden("must be nil if the type is Limited"));
            }
            if limited.is_set() {
                limits(&limited, faults);
            } else {
                faults.push(limited.missing("must not be empty when type is Limited"));
            }
        }
        _ => spec.get("type").known(&["Exempt", "Limited"], faults),
    }
}

fn limits(limited: &At<'_>, faults: &mut Faults) {
    at_least_zero(&limited.get("nominalConcurrencyShares"), NOT_NEGATIVE, faults);
    let response = limited.get("limitResponse");
    let queuing = response.get("queuing");
    match response.get("type").str() {
        "Reject" if queuing.is_set() => {
            faults.push(queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"));
        }
        "Reject" => {}
        "Queue" if queuing.is_set() => queues(&queuing, faults),
        "Queue" => {
            faults.push(queuing.missing("must not be empty if limited.limitResponse.type is Limited"));
        }
        _ => response.get("type").known(&["Queue", "Reject"], faults),
    }
    percent(&limited.get("lendablePercent"), faults);
    let borrowed = limited.get("borrowingLimitPercent");
    at_least_zero(&borrowed, "if specified, must be a non-negative integer", faults);
}

fn at_least_zero(number: &At<'_>, why: &str, faults: &mut Faults) {
    if number.int().is_some_and(|n| n < 0) {
        faults.push(number.invalid(why));
    }
}

fn percent(number: &At<'_>, faults: &mut Faults) {
    if number.int().is_some_and(|n| !(0..=100).contains(&n)) {
        faults.push(number.invalid(PERCENT));
    }
}

fn queues(queuing: &At<'_>, faults: &mut Faults) {
    let number = |field| queuing.get(field).int().unwrap_or(0);
    let mut say = |field, why: String| faults.push(queuing.get(field).invalid(why));
    let (queues, hand) = (number("queues"), number("handSize"));
    if number("queueLengthLimit") <= 0 {
        say("queueLengthLimit", "must be positive".into());
    }
    if queues <= 0 {
        say("queues", "must be positive".into());
    } else if queues > QUEUES_MAX {
        say("queues", format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        say("handSize", "must be positive".into());
    } else if hand > queues {
        say("handSize", format!("should not be greater than queues ({queues})"));
    } else if ((queues as f64).log2() * hand as f64).ceil() > HASH_BITS_MAX {
        say(
            "handSize",
            format!(
                "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
            ),
        );
    }
}

/// A change of the `status` of either kind.
pub(crate) fn validate_status(new: &Object, _: &Object) -> Faults {
    let mut faults = Vec::new();
    conditions(new, &mut faults);
    faults
}

fn conditions(o: &Object, faults: &mut Faults) {
    let mut seen = Unique::default();
    for condition in At::top(o, "status").get("conditions").items() {
        seen.check(&condition.get("type"), faults);
        condition.get("type").required(faults);
    }
}

/// Upstream's internal types, in whose form messages show a spec: their fields' names, and what stands where there is
/// nothing.
enum Form {
    /// A value; the text of an absent one.
    Plain(&'static str),
    Struct(&'static [(&'static str, Form)]),
    Pointer(&'static [(&'static str, Form)]),
    List(&'static [(&'static str, Form)]),
}

const TEXT: Form = Form::Plain("\"\"");
const NUMBER: Form = Form::Plain("0");
const NOTHING: Form = Form::Plain("null");
const RESOURCES: &[(&str, Form)] = &[
    ("Verbs", NOTHING),
    ("APIGroups", NOTHING),
    ("Resources", NOTHING),
    ("ClusterScope", Form::Plain("false")),
    ("Namespaces", NOTHING),
];
const SUBJECT: &[(&str, Form)] = &[
    ("Kind", TEXT),
    ("User", Form::Pointer(&[("Name", TEXT)])),
    ("Group", Form::Pointer(&[("Name", TEXT)])),
    ("ServiceAccount", Form::Pointer(&[("Namespace", TEXT), ("Name", TEXT)])),
];
const RULE: &[(&str, Form)] = &[
    ("Subjects", Form::List(SUBJECT)),
    ("ResourceRules", Form::List(RESOURCES)),
    ("NonResourceRules", Form::List(&[("Verbs", NOTHING), ("NonResourceURLs", NOTHING)])),
];
const SCHEMA: &[(&str, Form)] = &[
    ("PriorityLevelConfiguration", Form::Struct(&[("Name", TEXT)])),
    ("MatchingPrecedence", NUMBER),
    ("DistinguisherMethod", Form::Pointer(&[("Type", TEXT)])),
    ("Rules", Form::List(RULE)),
];
const QUEUING: &[(&str, Form)] = &[("Queues", NUMBER), ("HandSize", NUMBER), ("QueueLengthLimit", NUMBER)];
const LIMITED: &[(&str, Form)] = &[
    ("NominalConcurrencyShares", NUMBER),
    ("LimitResponse", Form::Struct(&[("Type", TEXT), ("Queuing", Form::Pointer(QUEUING))])),
    ("LendablePercent", NOTHING),
    ("BorrowingLimitPercent", NOTHING),
];
const LEVEL: &[(&str, Form)] = &[
    ("Type", TEXT),
    ("Limited", Form::Pointer(LIMITED)),
    ("Exempt", Form::Pointer(&[("NominalConcurrencyShares", NOTHING), ("LendablePercent", NOTHING)])),
];

fn show(value: &Value, form: &Form) -> String {
    match (form, value) {
        (Form::Plain(absent), Value::Null) => (*absent).to_owned(),
        (Form::Plain(_), value) => value.to_string(),
        (Form::Pointer(_) | Form::List(_), Value::Null) => "null".to_owned(),
        (Form::Struct(fields) | Form::Pointer(fields), value) => show_struct(value, fields),
        (Form::List(fields), value) => {
            let items = value.as_array().into_iter().flatten();
            let items: Vec<String> = items.map(|item| show_struct(item, fields)).collect();
            format!("[{}]", items.join(","))
        }
    }
}

fn show_struct(value: &Value, fields: &[(&str, Form)]) -> String {
    let shown = fields.iter().map(|(name, form)| {
        let key = match name.strip_prefix("API") {
            Some(rest) => format!("api{rest}"),
            None => name[..1].to_lowercase() + &name[1..],
        };
        format!("\"{name}\":{}", show(value.get(&key).unwrap_or(&Value::Null), form))
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

/// `apiequality.Semantic.DeepEqual`: an empty list is as good as none.
fn same(a: &Value, b: &Value, fields: &[(&str, Form)]) -> bool {
    let text = |v: &Value| show_struct(v, fields).replace("[]", "null");
    text(a) == text(b)
}

fn fixed_spec(spec: &At<'_>, fields: &[(&str, Form)], why: &str) -> FieldError {
    spec.invalid_as_such(format!("{}: {why}", show_struct(spec.value(), fields)))
}
