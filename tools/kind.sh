#!/bin/sh
# `make run CLUSTER=kind`: as `make run`, on a kind cluster with nodes, so that pods run and network policies are in force.
# Needs Docker and kind; takes kubectl and helm from PATH or builds them once. `tools/kind.sh down` removes the cluster.
set -eu
cd "$(dirname "$0")/.."
cluster=tenantry
image=tenantry:dev

missing() {
  echo "CLUSTER=kind needs $1. Without it, plain \`make run\` starts a control plane without Docker." >&2
  exit 1
}
command -v docker >/dev/null || missing "Docker, and there is no \`docker\`"
docker info >/dev/null 2>&1 || missing "a running Docker, and \`docker info\` fails"
command -v kind >/dev/null || missing "kind, and there is no \`kind\` (go install sigs.k8s.io/kind@latest)"

kubeconfig="${XDG_STATE_HOME:-$HOME/.local/state}/tenantry/kind.kubeconfig"
mkdir -p "$(dirname "$kubeconfig")"
# A kubeconfig of our own, so that the user's stays unchanged.
export KUBECONFIG="$kubeconfig"
if [ "${1:-up}" = down ]; then
  exec kind delete cluster --name "$cluster"
fi

if ! command -v kubectl >/dev/null || ! command -v helm >/dev/null; then
  dirs=$(cargo run --quiet --locked --package controlplane --bin controlplane -- assets kubectl helm)
  PATH="$PATH:$(printf '%s' "$dirs" | tr '\n' ':')"
  export PATH
fi

echo "[1/5] the operator's image"
# The Dockerfile needs its builder by digest. This takes the current one and prints it, so that you can pin it.
builder=rust:1.95-alpine
docker pull --quiet "$builder" >/dev/null
digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$builder")
digest=${digest#*@}
echo "      RUST_DIGEST=$digest"
docker build --quiet --build-arg "RUST_DIGEST=$digest" --tag "$image" . >/dev/null

echo "[2/5] a kind cluster"
if ! kind get clusters 2>/dev/null | grep -qx "$cluster"; then
  kind create cluster --config deploy/kind/kind.yaml
fi
kind load docker-image "$image" --name "$cluster"
kind export kubeconfig --name "$cluster"

echo "[3/5] the chart, by helm"
upgrade() {
  helm upgrade --install tenantry charts/tenantry --namespace tenantry-system --create-namespace \
    --set image.repository=tenantry,image.tag=dev,image.pullPolicy=Never "$@" >/dev/null
}
upgrade
kubectl wait --for=condition=Established --timeout=60s crd tenants.tenantry.dev tenanttemplates.tenantry.dev >/dev/null
upgrade --set templates.install=true
# A rebuilt image has the same name, so the Deployment does not change by itself.
kubectl --namespace tenantry-system rollout restart deployment/tenantry >/dev/null
kubectl --namespace tenantry-system rollout status deployment/tenantry --timeout=180s

echo "[4/5] three example tenants"
kubectl apply --filename examples

echo "[5/5] waiting until they are Ready"
kubectl wait tenant --all --for=condition=Ready --timeout=120s
kubectl get tenants

cat <<TEXT

  export KUBECONFIG=$kubeconfig
  kubectl get tenants
  kubectl get quota,limits,networkpolicies,rolebindings --namespace acme-web
  kubectl delete quota tenantry --namespace acme-web --as alice     # refused

  make stop CLUSTER=kind removes the cluster. More: README.md
TEXT
