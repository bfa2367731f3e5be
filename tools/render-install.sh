#!/bin/sh
# Writes install.yaml and install-mutating.yaml, rendered from the chart, into a folder (deploy/ by default).
# HELM: the helm to use. `make generate` runs this script, and a test compares its output with the checked-in files.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$root/deploy}
helm=${HELM:-helm}

render() {
  "$helm" template tenantry "$root/charts/tenantry" --namespace tenantry-system --kube-version 1.36 "$@"
}

# Render everything before writing: a failure leaves the files unchanged.
install=$(render --set policies.mutating=never)
mutating=$(render --set policies.mutating=always --show-only templates/policies/mutate-pods.yaml)

{
  cat <<'YAML'
# Rendered from charts/tenantry. Do not edit.
apiVersion: v1
kind: Namespace
metadata:
  name: tenantry-system
  labels: {pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}
YAML
  printf '%s\n' "$install"
} | sed 's/[[:space:]]*$//' > "$target/install.yaml"

{
  echo "# Rendered from charts/tenantry. Do not edit. Kubernetes 1.36 and later."
  printf '%s\n' "$mutating"
} | sed 's/[[:space:]]*$//' > "$target/install-mutating.yaml"
