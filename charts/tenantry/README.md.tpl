# Chart tenantry
Turns TenantTemplates and Tenants into fenced, metered and watched namespaces. Kubernetes 1.34 to 1.37, no admission webhook.

```sh
helm install tenantry charts/tenantry --namespace tenantry-system --create-namespace
```

The namespace may enforce Pod Security `restricted`. Without Helm: `kubectl apply --server-side -f deploy/install.yaml`.

## What it installs
- The CustomResourceDefinitions, which upgrade with the chart and stay when it goes (`crds.keep`).
- The operator: two replicas of which one leads, its ServiceAccount, and the rights it needs, kind by kind. It reads no Secrets,
  makes no pods, and binds no role but the three below and three of home namespaces (`tenantry-home-owner`, `-viewer` and `-direct`).
- ClusterRoles `tenantry-owner`, `tenantry-editor` and `tenantry-viewer` for people in tenants' namespaces, closed to aggregation;
  `tenantry-platform` for whoever manages tenants and `tenantry-break-glass` (verb `bypass` on tenants), bound to nobody.
  Whoever may make pods in a namespace may mount its Secrets and run as its ServiceAccounts: that editors cannot read Secrets
  keeps honest people honest, no more.
- Admission policies, a constant number of them, which read the TenantPolicy of the request's namespace:

| Policy | What it refuses |
| --- | --- |
| `tenantry-managed-objects` | changing, deleting or forging what the operator manages |
| `tenantry-namespaces` | changing the labels, annotations and owners that decide about a tenant's protection; deleting its namespaces; slipping a namespace to a tenant |
| `tenantry-pods` | images from other registries or without digest, other priority and runtime classes, nodes, tolerations, schedulers, more bandwidth |
| `tenantry-services` | other types, `externalIPs`, load balancers for other clients, DNS names of others |
| `tenantry-volume-claims` | other storage classes, volumes by name, sources in other namespaces |
| `tenantry-ingresses`, `tenantry-routes` | other hosts, all hosts, hosts without TLS, other classes, raw configuration, traffic to other namespaces |
| `tenantry-role-bindings` | other roles; subjects that are not of the namespace |
| `tenantry-writes` | every write of a frozen tenant; writes without a second factor |
| `tenantry-tenant-overrides`, `tenantry-tenant-deletion` | overrides that loosen what the template does not open; deleting a protected Tenant |
| `tenantry-pods` (mutating, Kubernetes 1.36) | nothing: it stamps node selector, tolerations and bandwidth on pods |

Where the MutatingAdmissionPolicy is not served it is left out, and tenants write the node selector themselves.
Rules on pods, Services, volumes and hosts hold for everyone, cluster admins and GitOps tools included, because they act for tenants.
Controllers of yours that write in tenants' namespaces (certificates, databases) and must go on while a tenant is frozen, or bind
roles there, belong into `policies.exempt`.

## Upgrade and removal
`helm upgrade` upgrades the definitions too. `helm uninstall` leaves definitions and Tenants where they are, but takes the policies: tenants
keep their quotas and network policies, and nothing protects these any more. To go for good, delete the Tenants first (their
namespaces go with them unless `deletionPolicy` is Retain), then the templates, both while the operator runs and takes its finalizers
off, then the release, then the definitions.

There is no `helm test`: the image holds one static binary and no shell, and `helm install --wait` already waits for `/readyz`.

## Values
<!-- values -->
