//! Generated files are current, and the CRDs follow our rules for CRDs. Needs no cluster.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use tenantry_api as api;
use xtask::generate;

/// Enum values whose usual spelling is not CamelCase.
const NOT_CAMEL_CASE: [&str; 8] = ["TCP", "UDP", "SCTP", "GDPR", "HIPAA", "SOX", "PCI-DSS", "ISO27001"];

/// Enum values that YAML 1.1, and so kubectl, reads as booleans unless they are quoted: the status of Kubernetes
/// conditions.
const ALLOWED_YAML_BOOLEANS: [&str; 2] = ["True", "False"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn every_generated_file_is_current() {
    let stale = generate::stale(root()).unwrap();
    assert!(
        stale.is_empty(),
        "these files are stale: {stale:?}\nrun `cargo xtask generate` and commit what changed"
    );
}

#[test]
fn no_obsolete_generated_file_is_left() {
    let current: Vec<_> = generate::files().unwrap().into_iter().map(|file| file.path).collect();
    for folder in ["crds", "charts/tenantry/crds-src", "charts/tenantry/tenant-templates"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            assert!(
                current.contains(&path),
                "{} is no longer generated: delete it",
                path.display()
            );
        }
    }
}

#[test]
fn every_crd_fits_into_an_annotation() {
    for file in generate::files().unwrap() {
        let size = file.content.len();
        // Client-side apply stores a copy in an annotation, and annotations have at most 256 KiB.
        assert!(size < 256 * 1024, "{} has {size} bytes", file.path.display());
    }
}

#[test]
fn every_crd_has_short_names_a_category_and_described_columns() {
    for crd in api::all_crds() {
        let names = &crd.spec.names;
        assert_eq!(
            names.short_names.iter().flatten().count(),
            1,
            "{}: short name",
            names.kind
        );
        assert_eq!(
            names.categories.iter().flatten().collect::<Vec<_>>(),
            ["tenantry"],
            "{}: category",
            names.kind
        );
        for version in &crd.spec.versions {
            let columns: Vec<_> = version.additional_printer_columns.iter().flatten().collect();
            assert!(
                columns.iter().any(|column| column.type_ == "date"),
                "{}: no column for the age",
                names.kind
            );
            for column in columns {
                let described = column.description.as_deref().is_some_and(|text| !text.is_empty());
                assert!(described, "{}: column {} has no description", names.kind, column.name);
            }
        }
    }
}

#[test]
fn every_field_has_a_description() {
    lint(|path, schema, is_field| {
        let text = schema.description.as_deref().unwrap_or_default().trim();
        let wanted = is_field || schema.type_.as_deref() == Some("object");
        let missing = wanted && (text.is_empty() || text.contains("Auto-generated"));
        missing.then(|| format!("{path} has no description: write a doc comment"))
    });
}

#[test]
fn every_list_map_and_string_is_bounded() {
    lint(|path, schema, _| match schema.type_.as_deref() {
        Some("array") if schema.max_items.is_none() => Some(format!("{path} has no maxItems")),
        Some("array") if schema.x_kubernetes_list_type.is_none() => Some(format!("{path} has no list type")),
        Some("string") if schema.max_length.is_none() && schema.enum_.is_none() && schema.format.is_none() => {
            Some(format!("{path} has no maxLength, enum or format"))
        }
        Some("object") if schema.additional_properties.is_some() && schema.max_properties.is_none() => {
            Some(format!("{path} has no maxProperties"))
        }
        None if schema.x_kubernetes_int_or_string == Some(true) && schema.max_length.is_none() => {
            Some(format!("{path} has no maxLength"))
        }
        _ => None,
    });
}

#[test]
fn every_integer_that_users_write_has_both_bounds() {
    lint(|path, schema, _| {
        let unbounded = schema.minimum.is_none() || schema.maximum.is_none();
        (schema.type_.as_deref() == Some("integer") && path.contains(".spec.") && unbounded)
            .then(|| format!("{path} has no minimum or no maximum"))
    });
}

#[test]
fn no_field_is_a_floating_point_number() {
    lint(|path, schema, _| {
        let float =
            schema.type_.as_deref() == Some("number") || matches!(schema.format.as_deref(), Some("float" | "double"));
        float.then(|| format!("{path} is a floating point number: use an amount"))
    });
}

#[test]
fn every_schema_is_closed_typed_and_not_nullable() {
    lint(|path, schema, _| {
        let open = schema.x_kubernetes_preserve_unknown_fields.is_some()
            || schema.x_kubernetes_embedded_resource.is_some()
            || matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Bool(true)));
        let nullable = schema.nullable.is_some();
        let typed = schema.type_.is_some() || schema.x_kubernetes_int_or_string == Some(true);
        (open || nullable || !typed).then(|| format!("{path} is open, nullable or without a type"))
    });
}

#[test]
fn every_rule_has_a_message() {
    lint(|path, schema, _| {
        // The API server answers a pattern with the regular expression, and a rule without a message with its source.
        if schema.pattern.is_some() {
            return Some(format!(
                "{path} has a pattern: make it a rule with a message (schema.rs, text)"
            ));
        }
        let silent = schema
            .x_kubernetes_validations
            .iter()
            .flatten()
            .find(|rule| rule.message.is_none());
        silent.map(|rule| format!("{path} has a rule without a message: {}", rule.rule))
    });
}

#[test]
fn enum_values_are_camel_case_and_survive_yaml() {
    lint(|path, schema, _| {
        schema.enum_.iter().flatten().find_map(|value| {
            let Some(word) = value.0.as_str() else {
                return Some(format!("{path}: {} is not a string", value.0));
            };
            let camel = word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.chars().all(|c| c.is_ascii_alphanumeric())
                && word.chars().any(|c| c.is_ascii_lowercase());
            if !camel && !NOT_CAMEL_CASE.contains(&word) {
                return Some(format!("{path}: {word} is not CamelCase"));
            }
            let trap =
                ["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&&*word.to_ascii_lowercase());
            (trap && !ALLOWED_YAML_BOOLEANS.contains(&word)).then(|| format!("{path}: YAML reads {word} as a boolean"))
        })
    });
}

/// Calls `check` for every schema of every CRD, with its path and whether it is a named field; fails with all
/// complaints.
fn lint(check: impl Fn(&str, &JSONSchemaProps, bool) -> Option<String>) {
    let mut complaints = Vec::new();
    let mut seen = 0;
    for crd in api::all_crds() {
        let CustomResourceDefinition { spec, .. } = &crd;
        for version in &spec.versions {
            let schema = version
                .schema
                .as_ref()
                .and_then(|schema| schema.open_api_v3_schema.as_ref())
                .unwrap();
            walk(&spec.names.kind, schema, true, &mut |path, schema, is_field| {
                seen += 1;
                complaints.extend(check(path, schema, is_field));
            });
        }
    }
    assert!(seen > 200, "only {seen} schemas were looked at");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn walk(path: &str, schema: &JSONSchemaProps, is_field: bool, visit: &mut impl FnMut(&str, &JSONSchemaProps, bool)) {
    visit(path, schema, is_field);
    for (name, property) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), property, true, visit);
    }
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => walk(&format!("{path}[]"), items, false, visit),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => {
            for items in all {
                walk(&format!("{path}[]"), items, false, visit);
            }
        }
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        walk(&format!("{path}{{}}"), values, false, visit);
    }
}
