//! A live object: the fields that decisions read, and the whole object packed.

use serde_json::Value;

use super::packed::Packed;
use tenantry_api::names;

/// A live object.
#[derive(Debug, PartialEq, Eq)]
pub struct Live {
    /// metadata.uid.
    pub uid: Box<str>,
    /// metadata.resourceVersion.
    pub version: u64,
    /// Whether metadata.deletionTimestamp is set.
    pub deleting: bool,
    /// uid of the Tenant that owns it, if it has exactly that owner.
    pub owner: Option<Box<str>>,
    /// The tenant that its label names, if it carries our managed-by label.
    pub tenant: Option<Box<str>>,
    /// The tenant that its label names, if the object is neither managed nor owned by a Tenant: an owner created this
    /// namespace for that tenant.
    pub asks: Option<Box<str>>,
    body: Packed,
}

impl Live {
    /// Reads a live object as the API server sent it. `None` if the value is not an object of the API.
    pub fn from_value(mut object: Value) -> Option<Self> {
        let metadata = object.get_mut("metadata")?.as_object_mut()?;
        metadata.remove("managedFields");
        let text = |key: &str| metadata.get(key).and_then(Value::as_str);
        let uid = text("uid")?.into();
        let version = text("resourceVersion")?.parse().ok()?;
        let deleting = text("deletionTimestamp").is_some();
        let label = |key: &str| {
            metadata
                .get("labels")
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        let managed = label(names::MANAGED_BY) == Some(names::MANAGED_BY_US);
        let labelled: Option<Box<str>> = label(names::TENANT).map(Into::into);
        let (tenant, asks) = if managed { (labelled, None) } else { (None, labelled) };
        let owner = metadata
            .get("ownerReferences")
            .and_then(Value::as_array)
            .and_then(|owners| {
                let ours = |owner: &&Value| {
                    owner["kind"] == "Tenant"
                        && owner["apiVersion"]
                            .as_str()
                            .is_some_and(|api| api.starts_with(names::GROUP))
                };
                owners
                    .iter()
                    .find(ours)
                    .and_then(|owner| owner["uid"].as_str())
                    .map(Into::into)
            });
        Some(Self {
            uid,
            version,
            deleting,
            asks: asks.filter(|_| owner.is_none()),
            owner,
            tenant,
            body: Packed::new(&object),
        })
    }

    /// Whether the Tenant with this uid owns it. Offline there is no uid, and the answer is no.
    pub fn is_owned_by(&self, uid: Option<&str>) -> bool {
        uid.is_some() && self.owner.as_deref() == uid
    }

    /// The whole object.
    pub fn body(&self) -> Value {
        self.body.value()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn managed_fields_are_not_kept() {
        let live = Live::from_value(json!({ "metadata": {
            "uid": "u", "resourceVersion": "1", "managedFields": [{}],
            "ownerReferences": [{ "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "uid": "t1" }],
        } }))
        .unwrap();
        assert!(live.body()["metadata"].get("managedFields").is_none());
        assert_eq!(live.owner.as_deref(), Some("t1"));
    }
}
