# Chart tenantry

Installs Tenantry, an operator that creates namespaces with quotas, policies and RBAC from TenantTemplates and Tenants.
It needs Kubernetes 1.34 to 1.37 and uses no admission webhook.

```sh
helm install tenantry charts/tenantry --namespace tenantry-system --create-namespace
```

The namespace may enforce Pod Security `restricted`.
[docs/install.md](../../docs/install.md) describes the first installation and ways without Helm.

## What it installs

- The CustomResourceDefinitions. `helm upgrade` upgrades them, and `helm uninstall` keeps them (`crds.keep`).
- The operator: two replicas, its ServiceAccount, and its rights, listed kind by kind. One replica leads.
  It reads no Secrets and creates no pods.
  It binds only the three roles below and three roles of home namespaces (`tenantry-home-owner`, `-viewer` and `-direct`).
- ClusterRoles `tenantry-owner`, `tenantry-editor` and `tenantry-viewer` for people in tenants' namespaces. No other role aggregates to them.
- ClusterRoles `tenantry-platform` for people who manage tenants, and `tenantry-break-glass` (verb `bypass` on tenants). The chart binds them to nobody.
- Admission policies. Their number is constant; they read the TenantPolicy of the request's namespace.

Editors cannot read Secrets through the API.
This prevents accidents only: everybody who may create pods in a namespace can mount its Secrets and use its ServiceAccounts.

| Policy | What it refuses |
| --- | --- |
| `tenantry-managed-objects` | changing, deleting or forging the operator's objects |
| `tenantry-namespaces` | changing the labels, annotations and ownerReferences that protect a tenant's namespace; deleting it; adding a namespace to a tenant |
| `tenantry-closing` | changing objects in a namespace that is being deleted, except for finalizers and labels |
| `tenantry-pods` | images from other registries or without digest; other priority and runtime classes, nodes, tolerations and schedulers; more bandwidth |
| `tenantry-services` | other types, `externalIPs`, load balancers for other clients, DNS names of other tenants |
| `tenantry-volume-claims` | other storage classes, volumes by name, sources in other namespaces |
| `tenantry-ingresses`, `tenantry-routes` | other hosts, all hosts, hosts without TLS, other classes, raw configuration, traffic to other namespaces |
| `tenantry-role-bindings` | other roles; subjects from outside the namespace |
| `tenantry-tenant-namespaces` | TenantNamespaces outside a home namespace, or with finalizers, ownerReferences or a name that is too long |
| `tenantry-writes` | every write of a frozen tenant; writes without a second factor |
| `tenantry-tenant-overrides`, `tenantry-tenant-deletion` | overrides that loosen fields that the template does not open; deleting a protected Tenant |
| `tenantry-pods` (mutating, Kubernetes 1.36) | nothing: it adds node selector, tolerations and bandwidth to pods |

If the cluster does not serve MutatingAdmissionPolicy, the chart leaves that policy out, and tenants write the node selector themselves.

The rules on pods, Services, volumes and hosts apply to everybody, including cluster admins and GitOps tools, because these act for tenants.
Add your own controllers (certificates, databases) to `policies.exempt` if they must write while a tenant is frozen, or bind roles in tenants' namespaces.

## Upgrade and uninstall

`helm upgrade` also upgrades the CustomResourceDefinitions.
`helm uninstall` keeps the CustomResourceDefinitions and Tenants, but deletes the policies.
Tenants then keep their quotas and network policies, and nothing protects these objects.
To remove everything, follow [docs/uninstall.md](../../docs/uninstall.md).

There is no `helm test`: the image contains one static binary and no shell, and `helm install --wait` already waits for `/readyz`.

## Values

<!-- values -->
