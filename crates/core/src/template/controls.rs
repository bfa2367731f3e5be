//! What each part of a template honestly comes to on this cluster (rule 6). Pure.
//!
//! Every block is destructured without `..`: a field that is added and forgotten here does not compile.

use std::collections::BTreeSet;

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

const QUOTA: &str = "ResourceQuota, in each namespace; the namespaces sum to the grant";
const POLICY: &str = "ValidatingAdmissionPolicy";
const NETWORK: &str = "NetworkPolicy; the network plugin must act on it";
const HANDED: &str = "handed to workloads in the ConfigMap tenant-limits; nothing makes them keep it";
const MESH: &str = "needs a service mesh, which this version does not set up";

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

    /// A promise that an admission policy of the chart keeps, if it is installed.
    fn by_policy(&mut self, is_set: bool, field: &str, policy: Admission, state: ControlState, message: &str) {
        if self.admission.contains(&policy) {
            return self.add(is_set, field, state, message);
        }
        let missing = match policy {
            Admission::None | Admission::Validating => "the chart's admission policies are switched off",
            Admission::Mutating => {
                "the chart's MutatingAdmissionPolicy is not installed: it needs Kubernetes 1.36 or policies.mutating"
            }
            Admission::Mfa => "set policies.mfa.extraKey in the chart's values, so that a sign-in can be told",
        };
        self.add(is_set, field, NotEnforced, missing);
    }
}

/// One entry for each part that the template sets, in the order of the spec.
pub fn controls(spec: &TenantTemplateSpec, served: &Served, settings: &Settings) -> Vec<Control> {
    let TenantTemplateSpec {
        // Words: they promise nothing.
        tier: _,
        description: _,
        quotas,
        // The operator's own doing; the sum is what is enforced.
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
        // Says what becomes of what selfService turns away.
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
        format!("no evidence is collected yet for {}", frameworks.join(", ")),
    );
    let AiSpec { level: _, models } = ai;
    list.add(!models.is_empty(), "ai.models", NotEnforced, HANDED);
    of_monitoring(&mut list, monitoring, served);
    of_placement(&mut list, placement);
    list.add(
        pricing.is_some(),
        "pricing",
        NotEnforced,
        "cost reports do not exist yet",
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
        "a change reaches every tenant at once; stages do not exist yet",
    );
    let (state, how) = match self_service {
        SelfService::Claim => (Enforced, "RBAC and ResourceQuota, in the tenant's home namespace"),
        SelfService::Direct => (
            Enforced,
            "as Claim; a namespace that an owner creates beyond the grant stays closed to everybody",
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
        "a Tenant that lists more is not carried out",
    );
    list.add(pods.is_some(), "quotas.pods", Enforced, QUOTA);
    list.by_policy(
        network_bandwidth.is_some(),
        "quotas.networkBandwidth",
        Admission::Mutating,
        Configured,
        "annotation on each pod by MutatingAdmissionPolicy; the network plugin must act on it",
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
        (Enforced, format!("ResourceQuota count/{}", settings.model_resource))
    } else {
        (
            NotEnforced,
            format!("the cluster does not serve {}; {HANDED}", settings.model_resource),
        )
    };
    list.add(ml_model_instances.is_some(), "quotas.mlModelInstances", state, message);
    list.add(
        ai_processing_units.is_some(),
        "quotas.aiProcessingUnits",
        Enforced,
        format!(
            "ResourceQuota requests.{}",
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
        zero_trust,
        end_to_end_encryption,
        mfa_for_writes,
        registries,
        image_digests,
        image_signatures,
        storage_classes,
        ip_allow_list,
        allowed_countries,
        vulnerability_scanning,
        penetration_testing,
        audit_logging,
        backups,
        hardware_keys,
        on_missing_means: _,
    } = security;
    list.add(
        true,
        "security.podSecurity",
        Enforced,
        format!("Pod Security labels: {}", pod_security.label()),
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
        list.add(
            at_rest.0,
            at_rest.1,
            Enforced,
            "ValidatingAdmissionPolicy: only the listed storage classes; that they encrypt is the provider's word",
        );
    } else {
        list.add(
            at_rest.0,
            at_rest.1,
            NotEnforced,
            "list encrypted classes in security.storageClasses",
        );
    }
    list.add(
        at_rest.0,
        "security.encryption: API data at rest",
        NotEnforced,
        "set in the API server's own configuration; not read yet",
    );
    list.add(
        *encryption >= Some(Encryption::Maximum),
        "security.encryption: between pods",
        NotEnforced,
        MESH,
    );
    list.add(
        *encryption >= Some(Encryption::Classified),
        "security.encryption: keys in hardware",
        NotEnforced,
        "not expressible in Kubernetes; attestations do not exist yet",
    );
    list.add(*zero_trust, "security.zeroTrust", NotEnforced, MESH);
    list.add(*end_to_end_encryption, "security.endToEndEncryption", NotEnforced, MESH);
    list.by_policy(
        *mfa_for_writes,
        "security.mfaForWrites",
        Admission::Mfa,
        Enforced,
        "ValidatingAdmissionPolicy, for writes, exec and attach; reads are never checked by admission",
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
    list.add(
        *image_signatures,
        "security.imageSignatures",
        NotEnforced,
        "needs a signature verifier, which this version does not set up",
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
        "ValidatingAdmissionPolicy on load balancers; the load balancer must filter",
    );
    list.add(
        !allowed_countries.is_empty(),
        "security.allowedCountries",
        NotEnforced,
        "nothing in Kubernetes knows a client's country; filter in front of the cluster",
    );
    list.add(
        *vulnerability_scanning,
        "security.vulnerabilityScanning",
        NotEnforced,
        "no scanner is read yet",
    );
    list.add(
        *penetration_testing,
        "security.penetrationTesting",
        NotEnforced,
        "only a person can attest it; attestations do not exist yet",
    );
    list.add(
        *audit_logging,
        "security.auditLogging",
        NotEnforced,
        "set in the API server's own configuration; not read yet",
    );
    list.add(*backups, "security.backups", NotEnforced, "no backup tool is read yet");
    list.add(
        *hardware_keys,
        "security.hardwareKeys",
        NotEnforced,
        "only a person can attest it; attestations do not exist yet",
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
    let missing = "the prometheus-operator's CRDs are not installed";
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
        "no burn-rate rules are made yet",
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
        "ValidatingAdmissionPolicy on every pod's spec",
    );
    list.by_policy(
        !tolerations.is_empty(),
        "placement.tolerations",
        Admission::Mutating,
        Configured,
        "stamped on each pod by MutatingAdmissionPolicy",
    );
    match regions.len() {
        0 => {}
        1 => list.add(
            true,
            "placement.regions",
            Enforced,
            "every pod is bound to nodes of the region; volumes follow their storage class",
        ),
        _ => list.add(
            true,
            "placement.regions",
            NotEnforced,
            "with several regions the choice is not made yet",
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
        let settings = Settings {
            accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
            model_resource: "inferenceservices.serving.kserve.io".to_owned(),
            admission: BTreeSet::from([Admission::Validating]),
            status_interval: Duration::from_secs(10),
        };
        controls(&serde_json::from_value(spec).unwrap(), &Served::default(), &settings)
    }

    #[test]
    fn a_level_name_is_never_printed_as_achieved() {
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
    fn counts_of_objects_are_enforced() {
        let all = of(json!({ "tier": "Free", "quotas": { "objects": { "services": 3 } } }));
        let objects = all.iter().find(|control| control.field == "quotas.objects").unwrap();
        assert_eq!(objects.state, Enforced);
    }

    #[test]
    fn a_policy_that_is_not_installed_keeps_nothing() {
        let all =
            of(json!({ "tier": "Free", "security": { "mfaForWrites": true }, "quotas": { "networkBandwidth": "1M" } }));
        let state = |field: &str| all.iter().find(|control| control.field == field).unwrap().state;
        assert_eq!(state("security.mfaForWrites"), NotEnforced);
        assert_eq!(state("quotas.networkBandwidth"), NotEnforced);
        assert_eq!(state("network.serviceTypes"), Enforced);
    }

    #[test]
    fn what_a_network_plugin_must_do_is_only_configured() {
        let all = of(json!({ "tier": "Free" }));
        assert!(
            all.iter()
                .filter(|control| control.message.contains("network plugin"))
                .all(|control| control.state == Configured)
        );
    }
}
