//! The home namespace: owners create TenantNamespaces in it, and no pods run there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{NamespaceObjects, Place, in_namespace, namespace, network_policy, object, tenant_policy};
use crate::{
    object::{Key, Kind, Object},
    tenant::validate::{Home, Member, Rights, ValidNamespace, ValidTenant},
};
use tenantry_api::{
    names,
    v1alpha1::{Environment, PodSecurity, SelfService, TenantState},
};

pub(super) fn objects(tenant: &ValidTenant, home: &Home) -> NamespaceObjects {
    let place = ValidNamespace {
        name: home.name.clone(),
        environment: Environment::default(),
        labels: BTreeMap::new(),
        weight: None,
        direct: false,
        claimed: false,
    };
    // None of our roles lets an owner create a pod there. If another role does, the quota of 0 refuses the pod.
    let hard = json!({ "pods": "0", (names::CLAIMS): home.places.to_string() });
    NamespaceObjects {
        place: Place::Home,
        namespace: namespace_object(tenant, home),
        guards: vec![
            in_namespace(
                tenant,
                &place,
                Kind::ResourceQuota,
                names::OBJECT,
                json!({ "spec": { "hard": hard } }),
            ),
            network_policy::default_deny(tenant, &place),
            tenant_policy::tenant_policy(tenant, &place),
        ],
        extras: Vec::new(),
        rights: role_bindings(tenant, &place),
    }
}

fn namespace_object(tenant: &ValidTenant, home: &Home) -> Object {
    let mut object = object(tenant, Key::namespace(&home.name), json!({}));
    let labels = [
        (names::MANAGED_BY, names::MANAGED_BY_US),
        (names::TENANT, &tenant.name),
        (names::TIER, tenant.tier().as_str()),
        (names::TEMPLATE, &tenant.template_name),
        (names::HOME, "true"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), json!(value)));
    object.labels.extend(labels);
    object
        .labels
        .extend(namespace::pod_security(PodSecurity::Restricted).map(|(key, value)| (key, json!(value))));
    object
}

fn role_bindings(tenant: &ValidTenant, place: &ValidNamespace) -> Vec<Object> {
    if matches!(tenant.rights, Rights::Withheld(_)) {
        return Vec::new();
    }
    let mut subjects: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (role, members) in &tenant.members {
        let of_role = subjects.entry(role.home_role()).or_default();
        for subject in members.iter().map(Member::subject) {
            if !of_role.contains(&subject) {
                of_role.push(subject);
            }
        }
    }
    // The policy tenantry-namespaces lets the subjects of this binding create and delete namespaces. The policy that refuses a frozen
    // tenant's writes does not match those requests, because a Namespace is in no namespace.
    if tenant.template.self_service == SelfService::Direct && tenant.state != TenantState::Frozen {
        let owners = subjects.get(names::HOME_OWNER).cloned();
        subjects.extend(owners.map(|owners| (names::HOME_DIRECT, owners)));
    }
    let bind = |(role, subjects): (&str, Vec<Value>)| {
        let role_ref = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role });
        let content = json!({ "roleRef": role_ref, "subjects": subjects });
        in_namespace(tenant, place, Kind::RoleBinding, role, content)
    };
    subjects.into_iter().map(bind).collect()
}
