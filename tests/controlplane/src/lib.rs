//! Starts a real Kubernetes control plane on loopback.
