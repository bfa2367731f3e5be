//! Commands to try, printed when the lab is up. `tests/try_out.rs` runs each of them in this order and checks that
//! those marked `# refused` are refused.

use std::path::Path;

use crate::say;

/// A line with four leading spaces is a command; its comment after ` # ` says what happens.
const COMMANDS: &str = "  Look:
    kubectl get tenants
    kubectl describe tenant acme
    kubectl get quota,limits,networkpolicies,rolebindings --namespace acme-web
    kubectl get quota --all-namespaces --selector tenantry.dev/tenant=globex    # three shares that add up to the grant, and the home namespace

  Be alice, who owns acme:
    kubectl auth can-i create deployments --namespace acme-web --as alice       # yes
    kubectl create configmap hello --namespace acme-web --as alice
    kubectl apply --filename examples/workloads/pod.yaml --namespace acme-web --as alice
    kubectl get configmaps --namespace globex-prod --as alice                   # refused: another tenant's

  Try to get out:
    kubectl delete quota tenantry --namespace acme-web --as alice               # refused: a guard of her namespace
    kubectl delete networkpolicy tenantry-default-deny --namespace acme-web --as alice # refused
    kubectl run root --image nginx --privileged --namespace acme-web --as alice # refused: Pod Security restricted
    kubectl create namespace mine --as alice                                    # refused: docs/self-service.md says how

  Change things:
    kubectl patch tenant acme --type merge --patch '{\"spec\":{\"templateRef\":{\"name\":\"premium\"}}}'
    kubectl wait tenant acme --for=jsonpath='{.status.tier}'=Premium --timeout=30s
    kubectl get quota tenantry --namespace acme-web                             # grew with the tier
    kubectl patch tenant globex --type merge --patch '{\"spec\":{\"state\":\"Frozen\"}}'
    kubectl wait tenant globex --for=condition=Frozen --timeout=30s
    kubectl create configmap note --namespace globex-prod --as bob --as-group globex-developers # refused: frozen
    kubectl patch tenant globex --type merge --patch '{\"spec\":{\"state\":\"Active\"}}'
    kubectl delete tenant initech                                               # refused: deletionProtection
    kubectl delete tenant acme                                                  # deletes its namespaces too
";

/// Prints it.
pub fn print(kubeconfig: &Path, env: &Path, left: &str) {
    say(&format!(
        "
This cluster has no nodes: the API server admits or refuses pods, and nothing runs them. The operator runs
as a process on this machine, so the Deployment in tenantry-system stays at 0 of 2.
The cluster's kubeconfig: {}

  Run this first in each shell (it sets KUBECONFIG, and adds kubectl, helm and tenantry to PATH):
    . {}

{COMMANDS}
  make status shows the cluster, make stop ends it. It ends by itself in {left}. More: README.md",
        kubeconfig.display(),
        env.display(),
    ));
}
