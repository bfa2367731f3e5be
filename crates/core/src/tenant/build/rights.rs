//! RoleBindings to the chart's closed roles.

use serde_json::json;

use super::in_namespace;
use crate::{
    object::{Kind, Object},
    tenant::validate::{Member, Rights, ValidNamespace, ValidTenant},
};
use tenantry_api::v1alpha1::OwnerRole;

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn role_bindings(tenant: &ValidTenant, namespace: &ValidNamespace) -> Vec<Object> {
    if !namespace.is_wanted() || matches!(tenant.rights, Rights::Withheld(_)) {
        return Vec::new();
    }
    let bind = |role: &OwnerRole, members: &[Member]| {
        let content = json!({
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role.cluster_role() },
            "subjects": members.iter().map(Member::subject).collect::<Vec<_>>(),
        });
        in_namespace(tenant, namespace, Kind::RoleBinding, role.cluster_role(), content)
    };
    tenant
        .members
        .iter()
        .map(|(role, members)| bind(role, members))
        .collect()
}
