//! The differences between two states of a cluster, in short.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Each place where they differ: object, path, and both values.
pub fn differences(found: &BTreeMap<String, Value>, wanted: &BTreeMap<String, Value>) -> Vec<String> {
    let keys: BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    let mut differences = Vec::new();
    for key in keys {
        match (found.get(key), wanted.get(key)) {
            (Some(found), Some(wanted)) => descend(key, found, wanted, &mut differences),
            (Some(_), None) => differences.push(format!("{key} is too much")),
            (None, _) => differences.push(format!("{key} is missing")),
        }
    }
    differences
}

fn descend(path: &str, found: &Value, wanted: &Value, differences: &mut Vec<String>) {
    match (found, wanted) {
        (Value::Object(left), Value::Object(right)) => {
            let names: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for name in names {
                descend(&format!("{path} {name}"), &found[name], &wanted[name], differences);
            }
        }
        _ if found == wanted => {}
        _ => differences.push(format!("{path}: {} and not {}", json!(found), json!(wanted))),
    }
}
