{{/* Name of the Deployment, ServiceAccount, Lease and cluster-scoped objects. It is constant because policies and docs name it. */}}
{{- define "tenantry.name" -}}
tenantry
{{- end -}}

{{- define "tenantry.serviceAccountName" -}}
{{- default (include "tenantry.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The operator's user name. */}}
{{- define "tenantry.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "tenantry.serviceAccountName" . }}
{{- end -}}

{{- define "tenantry.selectorLabels" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "tenantry.labels" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tenantry
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* [registry/]repository(:tag|@digest); the image's registry overrides the global one. */}}
{{- define "tenantry.image" -}}
{{- $registry := .Values.image.registry | default .Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest -}}
{{ $name }}@{{ .Values.image.digest }}
{{- else -}}
{{ $name }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* "true" if the chart should render an optional object. Args: root, mode, api (group/version), what. */}}
{{- define "tenantry.optional" -}}
{{- $served := .root.Capabilities.APIVersions.Has .api -}}
{{- if eq .mode "alwaysRender" -}}
true
{{- else if $served -}}
true
{{- else if eq .mode "failIfMissing" -}}
{{- fail (printf "%s is enabled and the cluster does not serve %s: install its CRDs, or set renderMode to skipIfMissing or alwaysRender" .what .api) -}}
{{- end -}}
{{- end -}}

{{/* "true" if the cluster serves MutatingAdmissionPolicy v1 (Kubernetes 1.36), or if policies.mutating is "always". */}}
{{- define "tenantry.mutating" -}}
{{- if .Values.policies.enabled -}}
{{- if eq .Values.policies.mutating "always" -}}
true
{{- else if and (eq .Values.policies.mutating "auto") (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The kinds of policies that this release installs. The operator reports them in statuses. */}}
{{- define "tenantry.admission" -}}
{{- $kinds := list -}}
{{- if .Values.policies.enabled }}{{ $kinds = append $kinds "validating" }}{{ end -}}
{{- if include "tenantry.mutating" . }}{{ $kinds = append $kinds "mutating" }}{{ end -}}
{{- if and .Values.policies.enabled .Values.policies.mfa.extraKey }}{{ $kinds = append $kinds "mfa" }}{{ end -}}
{{- join "," $kinds | default "none" -}}
{{- end -}}
