//! The shared lab and fluent builders.

pub mod audit;
pub mod builders;
pub mod oracle;
pub mod record;
pub mod stands;

use std::{path::Path, time::Duration};

use controlplane::Audit;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
pub use lab::{Lab, eventually};
use lab::{Operator, OperatorOptions};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};
use tokio::sync::OnceCell;

/// How long anything may take before a test fails. Generous, as the machine is shared and slow: it is no measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The operator under test.
pub fn binary() -> OperatorOptions {
    OperatorOptions::new(env!("CARGO_BIN_EXE_tenantry")).arg("--status-interval=1s")
}

struct Shared {
    lab: Lab,
    /// Lives as long as the process.
    _operator: Operator,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// The lab that all tests share, with the chart installed, the shipped templates, and one operator running.
pub async fn shared() -> &'static Lab {
    let shared = SHARED.get_or_init(|| async {
        let lab = Lab::shared(root()).expect("the shared control plane");
        install(&lab);
        let operator = lab.operator(binary()).await.expect("the operator");
        Shared {
            lab,
            _operator: operator,
        }
    });
    &shared.await.lab
}

/// Installs the chart with the shipped templates.
pub fn install(lab: &Lab) {
    let mfa = "policies.mfa.extraKey=example.com/amr";
    lab.install(&[mfa]).expect("the chart installs");
    // Helm checks every object against the API server before it creates the CRDs, so templates come with an upgrade.
    lab.install(&[mfa, "templates.install=true"])
        .expect("the chart upgrades");
}

/// A lab of its own, with the chart installed, no operator and no templates.
pub async fn own(audit: Audit) -> (Lab, Client) {
    furnished(Lab::own(root(), audit).expect("a control plane")).await
}

/// Kinds that no test here uses: for each, the controller manager sends two requests when it deletes a namespace.
const UNUSED: [&str; 5] = [
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "resource.k8s.io/v1",
    "certificates.k8s.io/v1",
];

/// Controllers on which tenants depend.
const CONTROLLERS: [&str; 6] = [
    "namespace-controller",
    "garbage-collector-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
];

/// As [`own`], for tests that create and delete hundreds of namespaces.
pub async fn own_in_a_hurry(audit: Audit) -> (Lab, Client) {
    let unused: Vec<_> = UNUSED.iter().map(|version| format!("{version}=false")).collect();
    let options = controlplane::Options {
        audit,
        controller_manager_qps: Some(3000),
        api_server_flags: vec![format!("--runtime-config={}", unused.join(","))],
        controller_manager_flags: vec![format!("--controllers={}", CONTROLLERS.join(","))],
        ..controlplane::Options::default()
    };
    furnished(Lab::own_with(root(), options).expect("a control plane")).await
}

/// Installs the chart on a lab.
pub async fn furnished(lab: Lab) -> (Lab, Client) {
    lab.install(&[]).expect("the chart installs");
    let admin = lab.admin().await.expect("a client");
    admits_tenants(&admin).await;
    (lab, admin)
}

/// Waits until a Tenant can be created: a MutatingAdmissionPolicy learns the schema of a new kind within five seconds, and until
/// then refuses to create any.
async fn admits_tenants(admin: &Client) {
    let trial = builders::tenant("trial", "none").build();
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api: Api<Tenant> = Api::all(admin.clone());
    eventually("a Tenant to be admitted", PATIENCE, || api.create(&dry, &trial)).await;
}

/// A name that no other test has.
pub fn name(prefix: &str) -> String {
    format!("{prefix}-{:06x}", fastrand::u32(..0x100_0000))
}

/// Creates a Tenant.
pub async fn create(client: &Client, tenant: &Tenant) -> Tenant {
    let api: Api<Tenant> = Api::all(client.clone());
    let created = eventually("the API server to know its policies' parameters", PATIENCE, || async {
        match api.create(&PostParams::default(), tenant).await {
            Err(error) if knows_no_parameters(&error) => Err(error),
            result => Ok(result),
        }
    });
    created
        .await
        .unwrap_or_else(|error| panic!("create {}: {error}", tenant.name_any()))
}

/// Whether the API server could not evaluate a policy. Right after its start, and right after a policy is installed, it
/// has not yet listed the kind of the policy's parameters. Until then it refuses every request that the policy matches
/// (k8s.io/apiserver, admission/plugin/policy).
fn knows_no_parameters(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.contains("denied request: failed to configure"))
}

/// Creates a TenantTemplate.
pub async fn create_template(client: &Client, template: &TenantTemplate) {
    let api: Api<TenantTemplate> = Api::all(client.clone());
    api.create(&PostParams::default(), template)
        .await
        .unwrap_or_else(|error| panic!("create {}: {error}", template.name_any()));
}

/// Waits until a condition of a Tenant has this status and, if given, this reason, at the current generation.
pub async fn condition(client: &Client, tenant: &str, type_: &str, status: &str, reason: Option<&str>) -> Tenant {
    let api: Api<Tenant> = Api::all(client.clone());
    eventually(
        &format!("{tenant} to have {type_}={status} {}", reason.unwrap_or_default()),
        PATIENCE,
        || {
            let api = api.clone();
            async move {
                let tenant = api.get(tenant).await.map_err(|error| error.to_string())?;
                if holds(&tenant, type_, status, reason) {
                    Ok(tenant)
                } else {
                    let conditions = tenant.status.as_ref().map_or(&[][..], |status| &status.conditions);
                    Err(format!("{conditions:#?}"))
                }
            }
        },
    )
    .await
}

/// Whether a condition of a Tenant has this status and, if given, this reason, at the current generation.
pub fn holds(tenant: &Tenant, type_: &str, status: &str, reason: Option<&str>) -> bool {
    let mut conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| {
        condition.type_ == type_
            && condition.status == status
            && reason.is_none_or(|reason| condition.reason == reason)
            && condition.observed_generation == tenant.metadata.generation
    })
}

/// Waits until a Tenant is Ready.
pub async fn ready(client: &Client, tenant: &str) -> Tenant {
    condition(client, tenant, "Ready", "True", None).await
}

/// Waits until every Tenant is Ready at its current generation with an open home namespace, if it has one; returns
/// them.
pub async fn all_ready(client: &Client) -> Vec<Tenant> {
    let api: Api<Tenant> = Api::all(client.clone());
    eventually("every Tenant to be Ready", 2 * PATIENCE, || async {
        let tenants = api
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
            .items;
        let waiting = tenants.iter().find(|tenant| !is_ready(tenant));
        match waiting {
            None => Ok(tenants),
            Some(tenant) => Err(format!("{}: {:#?}", tenant.name_any(), tenant.status)),
        }
    })
    .await
}

/// Whether a Tenant is Ready at its current generation, and its home namespace, if it has one, open.
pub fn is_ready(tenant: &Tenant) -> bool {
    let mut conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    if conditions.any(|condition| condition.type_ == "SelfServiceReady" && condition.status != "True") {
        return false;
    }
    holds(tenant, "Ready", "True", None)
}

/// Waits until a template's status counts so many tenants.
pub async fn counts_tenants(client: &Client, template: &str, tenants: usize) {
    let templates: Api<TenantTemplate> = Api::all(client.clone());
    eventually("the template to count its tenants", PATIENCE, || async {
        let status = templates.get(template).await.unwrap().status;
        let counted = status.map_or(0, |status| status.tenants);
        if counted == i64::try_from(tenants).unwrap() {
            Ok(())
        } else {
            Err(counted)
        }
    })
    .await;
}

/// The HTTP status of an answer.
pub fn code<T>(result: Result<T, kube::Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

/// Waits until an object is gone.
pub async fn gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    eventually(&format!("{name} to be gone"), PATIENCE, || async move {
        match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(format!("{object:?}")),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}
