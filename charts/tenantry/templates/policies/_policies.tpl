{{/*
Pieces that the admission policies share. An exemption is CEL; the cheap comparisons stand before the question to the
authorizer, which is asked only for requests that would otherwise be judged.
*/}}

{{/* A CEL list of strings. */}}
{{- define "tenantry.cel.strings" -}}
[{{ range $i, $s := . }}{{ if $i }}, {{ end }}'{{ $s | replace "\\" "\\\\" | replace "'" "\\'" }}'{{ end }}]
{{- end -}}

{{/* The operator, and users or groups that the values exempt. */}}
{{- define "tenantry.cel.trusted" -}}
request.userInfo.username in {{ include "tenantry.cel.strings" (prepend .Values.policies.exempt.usernames (include "tenantry.user" .)) }}
{{- with .Values.policies.exempt.groups }} || request.userInfo.?groups.orValue([]).exists(g, g in {{ include "tenantry.cel.strings" . }}){{ end }}
{{- end -}}

{{/* Controllers that take down what an owner or a namespace leaves behind, and the API server itself. */}}
{{- define "tenantry.cel.cleaners" -}}
request.userInfo.username in ['system:apiserver', 'system:kube-controller-manager', 'system:serviceaccount:kube-system:namespace-controller', 'system:serviceaccount:kube-system:generic-garbage-collector']
{{- end -}}

{{/* Break-glass: whoever may `bypass` tenants. */}}
{{- define "tenantry.cel.bypass" -}}
authorizer.group('tenantry.dev').resource('tenants').check('bypass').allowed()
{{- end -}}

{{/* Namespaces of tenants; only the operator can set the label. */}}
{{- define "tenantry.tenantNamespaces" -}}
namespaceSelector:
  matchExpressions:
    - {key: tenantry.dev/tenant, operator: Exists}
{{- end -}}

{{/*
Bindings of a policy that reads the TenantPolicy of the request's namespace. Creating needs it: a namespace is closed until
its rules are there. An update is let through without it: the namespace is being deleted, its TenantPolicy is gone before
the rest, and controllers still have to take finalizers off.
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

{{/* CEL: the annotations that ask external-dns to publish hosts. */}}
{{- define "tenantry.cel.dnsAnnotations" -}}
['external-dns.alpha.kubernetes.io/hostname', 'external-dns.alpha.kubernetes.io/internal-hostname']
{{- end -}}

{{/* CEL: every host that external-dns is asked to publish by annotation is one of the tenant's. */}}
{{- define "tenantry.cel.dnsHostsAllowed" -}}
{{ include "tenantry.cel.dnsAnnotations" . }}.all(k, !(k in variables.annotations) || variables.annotations[k].split(',').map(h, h.trim()).all(h, h.matches(r'^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') && ({{ include "tenantry.cel.hostAllowed" "h" }})))
{{- end -}}

{{/* CEL: every image that a pod (args: object or oldObject) names, those mounted as volumes included. */}}
{{- define "tenantry.cel.images" -}}
{{ . }}.spec.containers.map(c, c.?image.orValue(''))
+ {{ . }}.spec.?initContainers.orValue([]).map(c, c.?image.orValue(''))
+ {{ . }}.spec.?ephemeralContainers.orValue([]).map(c, c.?image.orValue(''))
+ {{ . }}.spec.?volumes.orValue([]).filter(v, has(v.image)).map(v, v.image.?reference.orValue(''))
{{- end -}}

{{/* CEL: the pod has no toleration like this one of the TenantPolicy (args: a CEL expression). */}}
{{- define "tenantry.cel.lacksToleration" -}}
!object.spec.?tolerations.orValue([]).exists(t, t.?key.orValue('') == {{ . }}.key && t.?operator.orValue('Equal') == {{ . }}.operator && t.?value.orValue('') == {{ . }}.?value.orValue('') && t.?effect.orValue('') == {{ . }}.?effect.orValue(''))
{{- end -}}

{{/* CEL: the annotations that CNI plugins take a pod's bandwidth from. */}}
{{- define "tenantry.cel.bandwidthAnnotations" -}}
['kubernetes.io/ingress-bandwidth', 'kubernetes.io/egress-bandwidth']
{{- end -}}
