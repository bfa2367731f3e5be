{{/*
Parts that the admission policies share. Exemptions are CEL. They compare user names first, because asking the authorizer costs
more; the API server asks it only if no other exemption applies.
*/}}

{{/* A CEL list of strings. */}}
{{- define "tenantry.cel.strings" -}}
[{{ range $i, $s := . }}{{ if $i }}, {{ end }}'{{ $s | replace "\\" "\\\\" | replace "'" "\\'" }}'{{ end }}]
{{- end -}}

{{/* CEL: the user is the operator, or exempt by the values. */}}
{{- define "tenantry.cel.trusted" -}}
request.userInfo.username in {{ include "tenantry.cel.strings" (prepend .Values.policies.exempt.usernames (include "tenantry.user" .)) }}
{{- with .Values.policies.exempt.groups }} || request.userInfo.?groups.orValue([]).exists(g, g in {{ include "tenantry.cel.strings" . }}){{ end }}
{{- end -}}

{{/* CEL: the user is the API server, the garbage collector or the namespace controller. */}}
{{- define "tenantry.cel.cleaners" -}}
request.userInfo.username in ['system:apiserver', 'system:kube-controller-manager', 'system:serviceaccount:kube-system:namespace-controller', 'system:serviceaccount:kube-system:generic-garbage-collector']
{{- end -}}

{{/* CEL: the user has the break-glass verb `bypass` on tenants. */}}
{{- define "tenantry.cel.bypass" -}}
authorizer.group('tenantry.dev').resource('tenants').check('bypass').allowed()
{{- end -}}

{{/* Matches tenants' namespaces. Only the operator can set the label. */}}
{{- define "tenantry.tenantNamespaces" -}}
namespaceSelector:
  matchExpressions:
    - {key: tenantry.dev/tenant, operator: Exists}
{{- end -}}

{{/*
Bindings of a policy that reads the TenantPolicy of the request's namespace. Without a TenantPolicy the API server refuses
creates: a namespace stays closed until its rules exist. It admits updates: while a namespace is being deleted, its TenantPolicy
may go first, and controllers must still remove finalizers.
*/}}
{{- define "tenantry.bindings" -}}
{{- range $operation, $missing := dict "create" "Deny" "update" "Allow" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $.name }}-{{ $operation }}
  labels: {{- include "tenantry.labels" $.root | nindent 4 }}
spec:
  policyName: {{ $.name }}
  validationActions: [Deny]
  paramRef: {name: effective, parameterNotFoundAction: {{ $missing }}}
  matchResources:
    resourceRules:
      - {apiGroups: ["*"], apiVersions: ["*"], operations: [{{ upper $operation }}], resources: ["*/*"], scope: Namespaced}
{{- end }}
{{- end -}}

{{/* CEL: the host (args: host, a CEL expression) is one of the tenant's. */}}
{{- define "tenantry.cel.hostAllowed" -}}
params.spec.ingressHosts.exists(a, {{ . }} == a || (a.startsWith('*.') && {{ . }}.endsWith(a.substring(1))))
{{- end -}}

{{/* CEL: the annotations that make external-dns publish hosts. */}}
{{- define "tenantry.cel.dnsAnnotations" -}}
['external-dns.alpha.kubernetes.io/hostname', 'external-dns.alpha.kubernetes.io/internal-hostname']
{{- end -}}

{{/* CEL: every host in an external-dns annotation is one of the tenant's. */}}
{{- define "tenantry.cel.dnsHostsAllowed" -}}
{{ include "tenantry.cel.dnsAnnotations" . }}.all(k, !(k in variables.annotations) || variables.annotations[k].split(',').map(h, h.trim()).all(h, h.matches(r'^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') && ({{ include "tenantry.cel.hostAllowed" "h" }})))
{{- end -}}

{{/* CEL: every image of a pod (args: object or oldObject), including images mounted as volumes. */}}
{{- define "tenantry.cel.images" -}}
{{ . }}.spec.containers.map(c, c.?image.orValue(''))
+ {{ . }}.spec.?initContainers.orValue([]).map(c, c.?image.orValue(''))
+ {{ . }}.spec.?ephemeralContainers.orValue([]).map(c, c.?image.orValue(''))
+ {{ . }}.spec.?volumes.orValue([]).filter(v, has(v.image)).map(v, v.image.?reference.orValue(''))
{{- end -}}

{{/* CEL: the pod lacks this toleration of the TenantPolicy (args: a CEL expression). */}}
{{- define "tenantry.cel.lacksToleration" -}}
!object.spec.?tolerations.orValue([]).exists(t, t.?key.orValue('') == {{ . }}.key && t.?operator.orValue('Equal') == {{ . }}.operator && t.?value.orValue('') == {{ . }}.?value.orValue('') && t.?effect.orValue('') == {{ . }}.?effect.orValue(''))
{{- end -}}

{{/* CEL: the annotations that CNI plugins read a pod's bandwidth from. */}}
{{- define "tenantry.cel.bandwidthAnnotations" -}}
['kubernetes.io/ingress-bandwidth', 'kubernetes.io/egress-bandwidth']
{{- end -}}
