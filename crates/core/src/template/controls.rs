//! The level (Enforced, Configured or NotEnforced) of each field that a template sets, with the reason. Pure.
//!
//! Every block is destructured without `..`, so that a new field that is missing here does not compile.

use std::collections::BTreeSet;

use super::security::{Unsupported, unsupported};
use crate::{
    object::Kind,
    settings::{Admission, Settings},
    tenant::facts::Served,
};
use ControlState::{Configured, Enforced, NotEnforced};
use tenantry_api::v1alpha1::{
    AiSpec, ComplianceSpec, Containers, Control, ControlState, Encryption, Framework, MonitoringSpec, NetworkSpec,
    PlacementSpec, Quotas, RolloutSpec, RolloutStrategy, SecuritySpec, SelfService, SupportSpec, TenantTemplateSpec,
    Traffic,
};

const QUOTA: &str = "ResourceQuota in each namespace; the sum of these quotas never exceeds the grant";
const POLICY: &str = "ValidatingAdmissionPolicy; the API server refuses objects that break the rule";
const NETWORK: &str = "NetworkPolicy; it has an effect only if the network plugin implements NetworkPolicy";
const HANDED: &str = "workloads can read it in the ConfigMap tenant-limits; nothing enforces it";
const ONLY_A_PERSON: &str = "only a person can confirm it, and this version cannot record that";

struct List<'a> {
    admission: &'a BTreeSet<Admission>,
    controls: Vec<Control>,
}

impl List<'_> {
    fn add(&mut self, is_set: bool, field: &str, state: ControlState, message: impl Into<String>) {
        if is_set {
            self.controls.push(Control {
                field: field.to_owned(),
                state,
                message: message.into(),
            });
        }
    }

    /// A field that an admission policy of the chart implements. NotEnforced if that policy is not installed.
    fn by_policy(&mut self, is_set: bool, field: &str, policy: Admission, state: ControlState, message: &str) {
        if self.admission.contains(&policy) {
            return self.add(is_set, field, state, message);
        }
        let missing = match policy {
            Admission::Validating => {
                "the chart's admission policies are not installed; set policies.enabled to true in the chart's values"
            }
            Admission::Mutating => {
                "the chart's MutatingAdmissionPolicy is not installed; it needs Kubernetes 1.36, and policies.mutating must not be never"
            }
            Admission::Mfa => {
                "the policy does not know which key shows how a user signed in; set policies.mfa.extraKey in the chart's values"
            }
        };
        self.add(is_set, field, NotEnforced, missing);
    }
}

/// One entry for each field that the template sets, in the order of the spec.
pub fn controls(spec: &TenantTemplateSpec, served: &Served, settings: &Settings) -> Vec<Control> {
    let TenantTemplateSpec {
        // Descriptive only: no effect to report.
        tier: _,
        description: _,
        quotas,
        // Only the operator uses it; `quotas` reports what is enforced.
        quota_spread: _,
        containers,
        network,
        security,
        compliance,
        ai,
        monitoring,
        placement,
        pricing,
        support,
        rollout,
        self_service,
        // Refines `selfService`, which reports the level of both.
        direct_overflow: _,
        overridable: _,
    } = spec;
    let mut list = List {
        admission: &settings.admission,
        controls: Vec::new(),
    };
    of_quotas(&mut list, quotas, served, settings);
    list.add(
        *containers != Containers::default(),
        "containers",
        Enforced,
        "LimitRange",
    );
    of_network(&mut list, network);
    of_security(&mut list, security);
    let ComplianceSpec { frameworks } = compliance;
    let frameworks: Vec<_> = frameworks.iter().copied().map(Framework::as_str).collect();
    list.add(
        !frameworks.is_empty(),
        "compliance.frameworks",
        NotEnforced,
        format!("this version collects no evidence for {}", frameworks.join(", ")),
    );
    let AiSpec { level: _, models } = ai;
    list.add(!models.is_empty(), "ai.models", NotEnforced, HANDED);
    of_monitoring(&mut list, monitoring, served);
    of_placement(&mut list, placement);
    list.add(
        pricing.is_some(),
        "pricing",
        NotEnforced,
        "this version makes no cost reports",
    );
    let SupportSpec {
        level: _,
        response_minutes,
        contact: _,
    } = support;
    list.add(
        response_minutes.is_some(),
        "support.responseMinutes",
        NotEnforced,
        HANDED,
    );
    let RolloutSpec {
        strategy,
        batch_percent: _,
        pause_seconds: _,
    } = rollout;
    list.add(
        *strategy == RolloutStrategy::Staged,
        "rollout",
        NotEnforced,
        "this version applies a change to every Tenant at once, without stages",
    );
    let (state, how) = match self_service {
        SelfService::Claim => (
            Enforced,
            "RBAC and a ResourceQuota in the home namespace decide who may create TenantNamespaces, and how many",
        ),
        SelfService::Direct => (
            Enforced,
            "as Claim; owners get no rights in a namespace that they create beyond the grant",
        ),
        SelfService::Disabled => (Enforced, "RBAC"),
    };
    list.add(*self_service != SelfService::Disabled, "selfService", state, how);
    list.controls
}

fn of_quotas(list: &mut List<'_>, quotas: &Quotas, served: &Served, settings: &Settings) {
    let Quotas {
        cpu,
        memory,
        storage,
        namespaces,
        pods,
        network_bandwidth,
        concurrent_connections,
        api_requests_per_minute,
        database_connections,
        cache,
        ml_model_instances,
        ai_processing_units,
        objects,
    } = quotas;
    list.add(cpu.is_some(), "quotas.cpu", Enforced, QUOTA);
    list.add(memory.is_some(), "quotas.memory", Enforced, QUOTA);
    list.add(storage.is_some(), "quotas.storage", Enforced, QUOTA);
    list.add(
        namespaces.is_some(),
        "quotas.namespaces",
        Enforced,
        "the operator changes nothing for a Tenant that lists more, and refuses TenantNamespaces beyond the limit",
    );
    list.add(pods.is_some(), "quotas.pods", Enforced, QUOTA);
    list.by_policy(
        network_bandwidth.is_some(),
        "quotas.networkBandwidth",
        Admission::Mutating,
        Configured,
        "a MutatingAdmissionPolicy annotates each pod; the network plugin must limit the bandwidth",
    );
    list.add(
        concurrent_connections.is_some(),
        "quotas.concurrentConnections",
        NotEnforced,
        HANDED,
    );
    list.add(
        api_requests_per_minute.is_some(),
        "quotas.apiRequestsPerMinute",
        NotEnforced,
        HANDED,
    );
    list.add(
        database_connections.is_some(),
        "quotas.databaseConnections",
        NotEnforced,
        HANDED,
    );
    list.add(cache.is_some(), "quotas.cache", NotEnforced, HANDED);
    let (state, message) = if served.models {
        (Enforced, format!("{QUOTA} (count/{})", settings.model_resource))
    } else {
        (
            NotEnforced,
            format!(
                "the cluster does not serve {}, so no quota counts it; {HANDED}",
                settings.model_resource
            ),
        )
    };
    list.add(ml_model_instances.is_some(), "quotas.mlModelInstances", state, message);
    list.add(
        ai_processing_units.is_some(),
        "quotas.aiProcessingUnits",
        Enforced,
        format!(
            "{QUOTA} (requests.{})",
            settings.accelerator_resources.join(", requests.")
        ),
    );
    list.add(!objects.is_empty(), "quotas.objects", Enforced, QUOTA);
}

fn of_network(list: &mut List<'_>, network: &NetworkSpec) {
    let NetworkSpec {
        isolation,
        internet_egress,
        egress,
        ingress_from,
        service_types: _,
        ingress_hosts: _,
        ingress_classes,
    } = network;
    list.add(
        true,
        "network.isolation",
        Configured,
        format!("{isolation:?}: {NETWORK}"),
    );
    list.add(
        *internet_egress == Traffic::Deny,
        "network.internetEgress",
        Configured,
        NETWORK,
    );
    list.add(!egress.is_empty(), "network.egress", Configured, NETWORK);
    list.add(!ingress_from.is_empty(), "network.ingressFrom", Configured, NETWORK);
    list.by_policy(true, "network.serviceTypes", Admission::Validating, Enforced, POLICY);
    list.by_policy(true, "network.ingressHosts", Admission::Validating, Enforced, POLICY);
    list.by_policy(
        ingress_classes.is_some(),
        "network.ingressClasses",
        Admission::Validating,
        Enforced,
        POLICY,
    );
}

fn of_security(list: &mut List<'_>, security: &SecuritySpec) {
    let SecuritySpec {
        pod_security,
        encryption,
        // In the table of unsupported fields.
        zero_trust: _,
        // In the table of unsupported fields.
        end_to_end_encryption: _,
        mfa_for_writes,
        registries,
        image_digests,
        // In the table of unsupported fields.
        image_signatures: _,
        storage_classes,
        ip_allow_list,
        allowed_countries,
        vulnerability_scanning,
        penetration_testing,
        audit_logging,
        backups,
        // In the table of unsupported fields.
        hardware_keys: _,
        on_missing_means: _,
    } = security;
    list.add(
        true,
        "security.podSecurity",
        Enforced,
        format!("Pod Security labels on each namespace: {}", pod_security.label()),
    );
    list.by_policy(
        encryption.is_some(),
        "security.encryption: TLS on exposed hosts",
        Admission::Validating,
        Enforced,
        POLICY,
    );
    let at_rest = (
        *encryption >= Some(Encryption::Enhanced),
        "security.encryption: volumes at rest",
    );
    if storage_classes.is_some() {
        list.by_policy(
            at_rest.0,
            at_rest.1,
            Admission::Validating,
            Enforced,
            "ValidatingAdmissionPolicy: only the classes in security.storageClasses; Tenantry does not check that they encrypt",
        );
    } else {
        list.add(
            at_rest.0,
            at_rest.1,
            NotEnforced,
            "tenants may use any storage class; list those that encrypt in security.storageClasses",
        );
    }
    list.add(
        at_rest.0,
        "security.encryption: API data at rest",
        NotEnforced,
        "depends on the API server's configuration, which this version does not read",
    );
    for Unsupported { field, needs, .. } in unsupported(security) {
        list.add(true, field, NotEnforced, *needs);
    }
    list.add(
        *encryption >= Some(Encryption::Classified),
        "security.encryption: keys in hardware",
        NotEnforced,
        "Kubernetes has no setting for it, and this version cannot record that a person confirmed it",
    );
    list.by_policy(
        *mfa_for_writes,
        "security.mfaForWrites",
        Admission::Mfa,
        Enforced,
        "ValidatingAdmissionPolicy for writes, exec and attach; admission policies never check reads",
    );
    list.by_policy(
        registries.is_some(),
        "security.registries",
        Admission::Validating,
        Enforced,
        POLICY,
    );
    list.by_policy(
        *image_digests,
        "security.imageDigests",
        Admission::Validating,
        Enforced,
        POLICY,
    );
    list.by_policy(
        storage_classes.is_some(),
        "security.storageClasses",
        Admission::Validating,
        Enforced,
        POLICY,
    );
    list.by_policy(
        !ip_allow_list.is_empty(),
        "security.ipAllowList",
        Admission::Validating,
        Configured,
        "ValidatingAdmissionPolicy on spec.loadBalancerSourceRanges of Services; the load balancer must filter",
    );
    list.add(
        !allowed_countries.is_empty(),
        "security.allowedCountries",
        NotEnforced,
        "Kubernetes does not know a client's country; filter in front of the cluster",
    );
    list.add(
        *vulnerability_scanning,
        "security.vulnerabilityScanning",
        NotEnforced,
        "this version reads the results of no scanner",
    );
    list.add(
        *penetration_testing,
        "security.penetrationTesting",
        NotEnforced,
        ONLY_A_PERSON,
    );
    list.add(
        *audit_logging,
        "security.auditLogging",
        NotEnforced,
        "depends on the API server's configuration, which this version does not read",
    );
    list.add(
        *backups,
        "security.backups",
        NotEnforced,
        "this version reads no backup tool",
    );
}

fn of_monitoring(list: &mut List<'_>, monitoring: &MonitoringSpec, served: &Served) {
    let MonitoringSpec {
        metrics,
        scrape_interval_seconds: _,
        sample_limit,
        target_limit,
        alerts,
        dashboard,
        labels: _,
        slo,
    } = monitoring;
    let missing = "not all of the prometheus-operator's CRDs are installed; install them";
    let by_crd = |kinds: &[Kind], there: &str| {
        let all = kinds.iter().all(|kind| served.kinds.contains(kind));
        if all {
            (Configured, there.to_owned())
        } else {
            (NotEnforced, missing.to_owned())
        }
    };
    let (state, message) = by_crd(
        &[Kind::PodMonitor, Kind::ServiceMonitor],
        "PodMonitor and ServiceMonitor; a Prometheus must select them",
    );
    list.add(*metrics, "monitoring.metrics", state, message.clone());
    list.add(
        sample_limit.is_some() || target_limit.is_some(),
        "monitoring limits",
        state,
        message,
    );
    let (state, message) = by_crd(
        &[Kind::PrometheusRule],
        "PrometheusRule; a Prometheus with kube-state-metrics must select it",
    );
    list.add(*alerts, "monitoring.alerts", state, message);
    list.add(
        *dashboard,
        "monitoring.dashboard",
        Configured,
        "ConfigMap with the label grafana_dashboard; a Grafana sidecar must load it",
    );
    list.add(
        slo.is_some(),
        "monitoring.slo",
        NotEnforced,
        "this version creates no burn-rate rules",
    );
}

fn of_placement(list: &mut List<'_>, placement: &PlacementSpec) {
    let PlacementSpec {
        node_selector,
        tolerations,
        regions,
        priority_classes: _,
        runtime_classes,
    } = placement;
    list.by_policy(
        !node_selector.is_empty(),
        "placement.nodeSelector",
        Admission::Validating,
        Enforced,
        "ValidatingAdmissionPolicy; the API server refuses pods without this nodeSelector",
    );
    list.by_policy(
        !tolerations.is_empty(),
        "placement.tolerations",
        Admission::Mutating,
        Configured,
        "a MutatingAdmissionPolicy adds them to each pod",
    );
    match regions.len() {
        0 => {}
        1 => list.by_policy(
            true,
            "placement.regions",
            Admission::Validating,
            Enforced,
            "every pod must select nodes of this region; the storage class decides where volumes are",
        ),
        _ => list.add(
            true,
            "placement.regions",
            NotEnforced,
            "this version restricts pods only if exactly one region is listed",
        ),
    }
    list.by_policy(
        true,
        "placement.priorityClasses",
        Admission::Validating,
        Enforced,
        POLICY,
    );
    list.by_policy(
        runtime_classes.is_some(),
        "placement.runtimeClasses",
        Admission::Validating,
        Enforced,
        POLICY,
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn of(spec: serde_json::Value) -> Vec<Control> {
        with(spec, &[Admission::Validating])
    }

    fn with(spec: serde_json::Value, admission: &[Admission]) -> Vec<Control> {
        let settings = Settings {
            accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
            model_resource: "inferenceservices.serving.kserve.io".to_owned(),
            admission: admission.iter().copied().collect(),
            status_interval: Duration::from_secs(10),
        };
        controls(&serde_json::from_value(spec).unwrap(), &Served::default(), &settings)
    }

    #[test]
    fn no_message_claims_that_a_level_name_is_achieved() {
        let all = of(json!({
            "tier": "EnterprisePlus",
            "security": { "encryption": "Classified", "zeroTrust": true, "hardwareKeys": true, "endToEndEncryption": true },
        }));
        for word in ["AES", "military", "Classified", "zero trust"] {
            assert!(all.iter().all(|control| !control.message.contains(word)), "{word}");
        }
        let zero_trust = all
            .iter()
            .find(|control| control.field == "security.zeroTrust")
            .unwrap();
        assert_eq!(zero_trust.state, NotEnforced);
    }

    #[test]
    fn object_counts_are_enforced() {
        let all = of(json!({ "tier": "Free", "quotas": { "objects": { "services": 3 } } }));
        let objects = all.iter().find(|control| control.field == "quotas.objects").unwrap();
        assert_eq!(objects.state, Enforced);
    }

    #[test]
    fn a_field_of_a_missing_policy_is_not_enforced() {
        let all =
            of(json!({ "tier": "Free", "security": { "mfaForWrites": true }, "quotas": { "networkBandwidth": "1M" } }));
        let state = |field: &str| all.iter().find(|control| control.field == field).unwrap().state;
        assert_eq!(state("security.mfaForWrites"), NotEnforced);
        assert_eq!(state("quotas.networkBandwidth"), NotEnforced);
        assert_eq!(state("network.serviceTypes"), Enforced);
    }

    #[test]
    fn without_policies_only_other_guards_are_enforced() {
        let spec = json!({
            "tier": "Enterprise", "selfService": "Direct",
            "quotas": { "cpu": "1", "namespaces": 2, "pods": 3, "objects": { "services": 3 } },
            "containers": { "max": { "cpu": "1" } },
            "placement": { "regions": ["eu-1"], "nodeSelector": { "a": "b" }, "priorityClasses": ["low"] },
            "security": {
                "encryption": "Enhanced", "storageClasses": ["encrypted"], "registries": ["r.example.com"], "imageDigests": true,
            },
        });
        let enforced = with(spec, &[]);
        let enforced = enforced.iter().filter(|control| control.state == Enforced);
        for Control { field, .. } in enforced {
            let by_others = ["quotas.", "containers", "security.podSecurity", "selfService"];
            assert!(
                by_others.iter().any(|prefix| field.starts_with(prefix)),
                "{field} claims a policy that is not installed"
            );
        }
    }

    #[test]
    fn a_field_that_needs_a_network_plugin_is_configured() {
        let all = of(json!({ "tier": "Free" }));
        assert!(
            all.iter()
                .filter(|control| control.message.contains("network plugin"))
                .all(|control| control.state == Configured)
        );
    }
}
