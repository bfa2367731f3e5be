//! Strings with a format, lists of them, and labels.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

/// A DNS label in regular expressions.
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// A string of at most `max` characters that matches `pattern`.
///
/// A rule and not `pattern`: for a violated `pattern` the API server answers with the regular expression, for a rule
/// with our message.
fn text(max: u32, pattern: &str, remedy: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": max,
        "x-kubernetes-validations": [{ "rule": format!("self.matches(r'^{pattern}$')"), "message": remedy }],
    })
}

/// A list of at most `max` such strings.
fn list(max: u32, items: &Schema) -> Schema {
    json_schema!({ "type": "array", "maxItems": max, "items": items })
}

/// Name of a TenantTemplate.
pub fn template_name(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        LABEL,
        "must be the name of a TenantTemplate: a-z, 0-9 and -, for example standard",
    )
}

/// Name of a namespace inside its tenant.
pub fn namespace_name(_: &mut SchemaGenerator) -> Schema {
    text(
        61,
        LABEL,
        "must be a DNS label (a-z, 0-9, -), for example web: the namespace is called <tenant>-<name>",
    )
}

/// Name of an owner. Which names are allowed depends on the kind; rules of `Owner` check that.
pub fn owner_name(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        r"\S(.*\S)?",
        "must name a user, group or ServiceAccount, without space at either end",
    )
}

/// Names of cluster objects such as storage classes.
pub fn object_names<const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    list(
        MAX,
        &text(
            253,
            &format!(r"({LABEL}\.)*{LABEL}"),
            "must be the name of an object (a-z, 0-9, -, .), for example fast-ssd",
        ),
    )
}

/// Names of runtime classes. An empty list would refuse every pod; use `state: Frozen` for that.
pub fn runtime_classes(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = object_names::<16>(generator);
    schema.insert("minItems".to_owned(), json!(1));
    schema
}

/// Image registries.
pub fn registries(_: &mut SchemaGenerator) -> Schema {
    list(
        32,
        &text(
            253,
            r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]([-a-z0-9._/]*[a-z0-9])?)?",
            "must be a registry and, if wanted, a path, without scheme, tag or * (for example registry.example.com/team)",
        ),
    )
}

/// Host names, with `{tenant}` for the tenant's name.
pub fn hosts(_: &mut SchemaGenerator) -> Schema {
    list(
        32,
        &json_schema!({
            "type": "string",
            "maxLength": 253,
            "x-kubernetes-validations": [{
                "rule": format!(r"self.replace('{{tenant}}', 't').matches(r'^(\*\.)?({LABEL}\.)+{LABEL}$')"),
                "message": "must be a host name in lower case, or *. and a domain, without scheme, port or path; {tenant} stands for the tenant's name (for example *.{tenant}.apps.example.com)",
            }],
        }),
    )
}

/// A range of addresses.
fn range() -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 49,
        "x-kubernetes-validations": [
            { "rule": "isCIDR(self)", "message": "must be an address range with a prefix length, for example 10.20.0.0/16 or 2001:db8::/32" },
            // The API server refuses a NetworkPolicy with such a range, so the tenant would never become Ready.
            {
                "rule": "!isCIDR(self) || cidr(self) == cidr(self).masked()",
                "message": "must start at the first address of the range, for example 10.20.0.0/16 and not 10.20.0.1/16",
            },
        ],
    })
}

/// A range of addresses.
pub fn address_range(_: &mut SchemaGenerator) -> Schema {
    range()
}

/// Ranges of addresses.
pub fn address_ranges<const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    list(MAX, &range())
}

/// Countries as two-letter codes.
pub fn countries(_: &mut SchemaGenerator) -> Schema {
    list(
        64,
        &text(
            2,
            "[A-Z]{2}",
            "must be a country in two capital letters (ISO 3166-1), for example DE",
        ),
    )
}

/// Regions, as values of a node label.
pub fn regions(_: &mut SchemaGenerator) -> Schema {
    list(
        16,
        &text(
            63,
            LABEL_WORD,
            "must be the value of the node label topology.kubernetes.io/region, for example eu-central-1",
        ),
    )
}

/// Percent as text.
pub fn percent(_: &mut SchemaGenerator) -> Schema {
    text(
        8,
        r"[0-9]{1,2}(\.[0-9]{1,4})?",
        "must be percent below 100 as quoted text, for example \"99.9\"",
    )
}

/// A currency.
pub fn currency(_: &mut SchemaGenerator) -> Schema {
    text(
        3,
        "[A-Z]{3}",
        "must be a currency in three capital letters (ISO 4217), for example EUR",
    )
}

/// A domain.
pub fn domain(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        &format!(r"({LABEL}\.)+{LABEL}"),
        "must be a domain in lower case, for example cloud.example.com",
    )
}

/// A web address.
pub fn https_url(_: &mut SchemaGenerator) -> Schema {
    text(1024, r"https://\S+", "must be an address that starts with https://")
}

/// A colour.
pub fn color(_: &mut SchemaGenerator) -> Schema {
    text(
        7,
        "#[0-9a-fA-F]{6}",
        "must be a colour as #rrggbb, for example \"#1a2b3c\"",
    )
}

/// A mail address.
pub fn email(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        r"[^@\s]+@[^@\s]+",
        "must be a mail address, for example help@example.com",
    )
}

/// Key of a taint.
pub fn taint_key(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        LABEL_KEY,
        "must be the key of a taint, for example example.com/pool",
    )
}

/// Value of a taint.
pub fn taint_value(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        &format!("({LABEL_WORD})?"),
        "must be the value of a taint: letters, digits, -, _ and .",
    )
}

/// Regular expression of the name part of a label key, and of a label value that is not empty. Use it with `maxLength`
/// 63.
const LABEL_WORD: &str = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?";

/// A label key: an optional domain and a name of at most 63 characters.
const LABEL_KEY: &str =
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";

/// Label keys by which other programs decide about protection: here, parts of a key; below, beginnings of a key.
const PROTECTED_PARTS: [&str; 14] = [
    "kubernetes.io/",
    "k8s.io/",
    "istio.io/",
    "linkerd.io/",
    "kuma.io/",
    "sigstore.dev/",
    "gatekeeper.sh/",
    "kyverno.io/",
    "openshift.io/",
    "cattle.io/",
    "clastix.io/",
    "argoproj.io/",
    "fluxcd.io/",
    "helm.sh/",
];
const PROTECTED_STARTS: [&str; 2] = ["tenantry.dev/", "istio-"];

/// Labels: at most 32 pairs, with keys and values that Kubernetes accepts.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "x-kubernetes-validations": [
            {
                "rule": format!("self.all(k, size(k) <= 253 && k.matches(r'^{LABEL_KEY}$'))"),
                "message": "keys must be label keys: a name of at most 63 letters, digits, -, _ and ., after a domain and / if wanted (for example team or example.com/team)",
            },
            {
                "rule": format!("self.all(k, self[k].matches(r'^({LABEL_WORD})?$'))"),
                "message": "values must be label values: letters, digits, -, _ and ., with a letter or digit at either end",
            },
        ],
    })
}

/// Numbers of objects by key of a ResourceQuota. Keys that other fields set are refused. So are guards: a quota on them
/// could keep the operator from writing its own.
pub fn object_counts(_: &mut SchemaGenerator) -> Schema {
    let core = "services|configmaps|secrets|persistentvolumeclaims|replicationcontrollers";
    let plain = format!(r"{core}|services\.loadbalancers|services\.nodeports");
    let counted = format!(r"count/({core}|serviceaccounts|endpoints|events|podtemplates|{LABEL}(\.{LABEL})+)");
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "integer", "format": "int64", "minimum": 0, "maximum": 1_000_000 },
        "x-kubernetes-validations": [
            {
                // Kubernetes allows 63 characters after the slash.
                "rule": format!("self.all(k, size(k) <= 69 && k.matches(r'^({plain}|{counted})$'))"),
                "message": "keys must be services, services.loadbalancers, services.nodeports, configmaps, secrets, persistentvolumeclaims, replicationcontrollers, or count/<plural>.<group> of any other kind, for example count/jobs.batch",
            },
            {
                "rule": "self.all(k, !k.endsWith('.tenantry.dev') && !(k in ['count/networkpolicies.networking.k8s.io', 'count/rolebindings.rbac.authorization.k8s.io']))",
                "message": "network policies, role bindings and kinds of Tenantry are guards and rights that the operator writes: leave them out",
            },
        ],
    })
}

/// Labels for a tenant's namespace: [`labels`] without the keys by which other programs decide about protection.
pub fn namespace_labels(generator: &mut SchemaGenerator) -> Schema {
    let quote = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut schema = labels(generator);
    if let Some(rules) = schema
        .get_mut("x-kubernetes-validations")
        .and_then(serde_json::Value::as_array_mut)
    {
        rules.push(json!({
            "rule": format!(
                "self.all(k, ![{}].exists(p, k.contains(p)) && ![{}].exists(p, k.startsWith(p)))",
                quote(&PROTECTED_PARTS),
                quote(&PROTECTED_STARTS)
            ),
            "message": "keys of Kubernetes, Tenantry, service meshes, policy engines, signing and GitOps tools decide about protection: use a domain of your own, for example example.com/team",
        }));
    }
    schema
}
