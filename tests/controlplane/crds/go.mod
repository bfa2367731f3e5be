// Where the real CRDs of optional integrations are read from: `go mod download` alone, as nothing is imported.
// Do not tidy: `go mod tidy` would drop every line. After a change: `go mod download -json MODULE` for each, which fills go.sum.
module tenantry.dev/controlplane/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.93.1
	sigs.k8s.io/gateway-api v1.6.3
)
