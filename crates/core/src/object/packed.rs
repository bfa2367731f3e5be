//! JSON in little memory: compact text, compressed with a dictionary of typical objects.
//!
//! Most of an object's text is the same for every tenant. With the dictionary only names, uids and amounts take memory.

use lz4_flex::block;
use serde_json::Value;

/// One typical object a line, with keys in the order in which serde_json writes them. The text only affects how much memory is saved.
/// It may change at any time, because packed values never outlive the process.
const DICTIONARY: &[u8] = include_bytes!("packed_dictionary.txt");

/// A JSON value.
#[derive(Debug, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// Packs a value.
    pub fn new(value: &Value) -> Self {
        let text = value.to_string();
        Self(block::compress_prepend_size_with_dict(text.as_bytes(), DICTIONARY).into())
    }

    /// The value.
    pub fn value(&self) -> Value {
        let text = block::decompress_size_prepended_with_dict(&self.0, DICTIONARY);
        // Neither can fail: both only reverse what `new` did.
        text.ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_typical_object_takes_a_third_of_its_text() {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {
                "creationTimestamp": "2026-11-23T05:31:07Z", "name": "tenantry-viewer", "namespace": "zebra-production",
                "labels": { "app.kubernetes.io/managed-by": "tenantry", "tenantry.dev/tenant": "zebra" },
                "ownerReferences": [{
                    "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": "zebra", "blockOwnerDeletion": true, "controller": true,
                    "uid": "4d1bc2c6-3fd3-4360-a3d9-d96cd6c43b4f",
                }],
                "resourceVersion": "8812345", "uid": "07e35661-cb80-412e-aa0d-0de32d955b5f",
            },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tenantry-viewer" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "auditors" }],
        });
        let packed = Packed::new(&binding);
        let (taken, text) = (packed.0.len(), binding.to_string().len());
        assert!(taken * 3 < text, "{taken} of {text}");
        assert_eq!(packed.value(), binding);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,200}".prop_map(Value::from),
            "[a-c]{0,9000}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z./]{0,20}", inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_packed_value_unpacks_unchanged(value in values()) {
            prop_assert_eq!(Packed::new(&value).value(), value);
        }
    }
}
