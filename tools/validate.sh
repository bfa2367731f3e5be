#!/bin/sh
# Checks the given files with Tenants: offline, by rendering them with deploy/templates, and by a server-side dry run if
# the current kubectl context has Tenantry. TENANTRY and KUBECTL name the programs.
set -eu
cd "$(dirname "$0")/.."
tenantry=${TENANTRY:-tenantry}
kubectl=${KUBECTL:-kubectl}
if [ $# -eq 0 ]; then
  echo "no file given: make validate TENANTS=\"a.yaml b.yaml\"" >&2
  exit 2
fi

templates=""
for file in ${TEMPLATES:-deploy/templates/*.yaml}; do
  templates="$templates --filename $file"
done
bad=0
for file in "$@"; do
  # $templates is a list of words.
  # shellcheck disable=SC2086
  if objects=$("$tenantry" render $templates --filename "$file"); then
    echo "ok       $file: $(printf '%s\n' "$objects" | grep -c '^kind:') objects"
  else
    echo "refused  $file"
    bad=1
  fi
done

if ! command -v "$kubectl" >/dev/null || ! "$kubectl" get crd tenants.tenantry.dev --request-timeout=5s >/dev/null 2>&1; then
  echo "offline only: kubectl's current context is no cluster with Tenantry"
  exit $bad
fi
for file in ${TEMPLATES:-deploy/templates/*.yaml} "$@"; do
  if "$kubectl" apply --server-side --force-conflicts --field-manager=tenantry-validate --dry-run=server --filename "$file" >/dev/null; then
    echo "accepted $file"
  else
    echo "refused  $file"
    bad=1
  fi
done
exit $bad
