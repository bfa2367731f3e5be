//! The templates and examples that ship are what the documentation promises. Needs no cluster.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tenantry_api::quantity::Quantity;
use tenantry_api::v1alpha1::{Encryption, MissingMeans, PodSecurity, Quotas, Tenant, TenantTemplate, Tier};

fn read<T: DeserializeOwned>(folder: &str) -> Vec<(PathBuf, T)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let parse = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let object = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, object)
    };
    files.into_iter().map(parse).collect()
}

fn template(tier: Tier) -> TenantTemplate {
    let found = read::<TenantTemplate>("deploy/templates")
        .into_iter()
        .find(|(_, template)| template.spec.tier == tier);
    found
        .unwrap_or_else(|| panic!("no template of tier {}", tier.as_str()))
        .1
}

fn amount(text: &str) -> Quantity {
    text.parse().unwrap()
}

#[test]
fn every_tier_has_one_template_in_a_file_of_its_name() {
    let templates = read::<TenantTemplate>("deploy/templates");
    assert_eq!(
        templates
            .iter()
            .map(|(_, template)| template.spec.tier)
            .collect::<BTreeSet<_>>(),
        Tier::ALL.into()
    );
    assert_eq!(templates.len(), Tier::ALL.len());
    for (path, template) in templates {
        let name = template.metadata.name.unwrap();
        assert_eq!(path.file_stem().unwrap().to_str().unwrap().replace('_', "-"), name);
        assert_eq!(template.spec.tier.as_str().to_lowercase(), name.replace('-', ""));
    }
}

/// cpu, memory, storage, namespaces, pods, bandwidth, connections, requests, databases, cache, models, accelerators.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    i64,
    i64,
    &'static str,
    i64,
    i64,
    i64,
    &'static str,
    Option<i64>,
    Option<i64>,
);

#[test]
fn quotas_equal_the_tier_table() {
    let table: [(Tier, Row); 5] = [
        (
            Tier::Free,
            ("1", "1Gi", "10Gi", 1, 10, "10M", 100, 60, 5, "64Mi", Some(0), Some(0)),
        ),
        (
            Tier::Standard,
            (
                "2",
                "4Gi",
                "100Gi",
                3,
                30,
                "100M",
                1000,
                1000,
                20,
                "256Mi",
                Some(1),
                Some(2),
            ),
        ),
        (
            Tier::Premium,
            (
                "8",
                "16Gi",
                "1Ti",
                10,
                100,
                "500M",
                10_000,
                10_000,
                50,
                "1Gi",
                Some(5),
                Some(20),
            ),
        ),
        (
            Tier::Enterprise,
            (
                "32",
                "128Gi",
                "5Ti",
                30,
                500,
                "2G",
                50_000,
                50_000,
                200,
                "4Gi",
                Some(20),
                Some(100),
            ),
        ),
        (
            Tier::EnterprisePlus,
            (
                "128", "512Gi", "50Ti", 100, 2000, "10G", 500_000, 500_000, 1000, "32Gi", None, None,
            ),
        ),
    ];
    for (
        tier,
        (cpu, memory, storage, namespaces, pods, bandwidth, connections, requests, databases, cache, models, units),
    ) in table
    {
        let wanted = Quotas {
            cpu: Some(amount(cpu)),
            memory: Some(amount(memory)),
            storage: Some(amount(storage)),
            namespaces: Some(namespaces),
            pods: Some(pods),
            network_bandwidth: Some(amount(bandwidth)),
            concurrent_connections: Some(connections),
            api_requests_per_minute: Some(requests),
            database_connections: Some(databases),
            cache: Some(amount(cache)),
            ml_model_instances: models,
            ai_processing_units: units,
            objects: BTreeMap::new(),
        };
        assert_eq!(template(tier).spec.quotas, wanted, "{}", tier.as_str());
    }
    assert_eq!(template(Tier::WhiteLabel).spec.quotas, Quotas::default());
}

#[test]
fn only_free_is_not_restricted_and_encryption_rises_by_tier() {
    for tier in Tier::ALL {
        let security = template(tier).spec.security;
        let standard = if tier == Tier::Free {
            PodSecurity::Baseline
        } else {
            PodSecurity::Restricted
        };
        let encryption = match tier {
            Tier::Free => Some(Encryption::Basic),
            Tier::Standard | Tier::Premium => Some(Encryption::Enhanced),
            Tier::Enterprise => Some(Encryption::Maximum),
            Tier::EnterprisePlus => Some(Encryption::Classified),
            Tier::WhiteLabel => None,
        };
        assert_eq!(
            (security.pod_security, security.encryption),
            (standard, encryption),
            "{}",
            tier.as_str()
        );
    }
    assert!(template(Tier::Premium).spec.security.zero_trust);
}

#[test]
fn every_tier_lets_owners_work_on_a_cluster_without_a_mesh() {
    for tier in Tier::ALL {
        let security = template(tier).spec.security;
        let strict = security.encryption >= Some(Encryption::Maximum);
        let degrades = security.on_missing_means == Some(MissingMeans::Degrade) || !strict;
        assert!(
            degrades && !security.mfa_for_writes,
            "{} would keep owners out",
            tier.as_str()
        );
    }
}

#[test]
fn default_container_fits_into_an_equal_share() {
    for tier in Tier::ALL {
        let spec = template(tier).spec;
        let (Some(default), Some(namespaces)) = (spec.containers.default, spec.quotas.namespaces) else {
            continue;
        };
        for (grant, default) in [(spec.quotas.cpu, default.cpu), (spec.quotas.memory, default.memory)] {
            let share = grant.unwrap().nanos() / i128::from(namespaces);
            assert!(
                default.unwrap().nanos() <= share,
                "{}: {default:?} is above its share",
                tier.as_str()
            );
        }
    }
}

#[test]
fn every_example_fits_a_template_that_ships() {
    let templates = read::<TenantTemplate>("deploy/templates");
    for (path, tenant) in read::<Tenant>("examples") {
        let wanted = &tenant.spec.template_ref.name;
        let template = templates
            .iter()
            .find(|(_, template)| template.metadata.name.as_ref() == Some(wanted));
        let (_, template) = template.unwrap_or_else(|| panic!("{}: no template {wanted} ships", path.display()));
        let listed = i64::try_from(tenant.spec.namespaces.len()).unwrap();
        assert!(
            template.spec.quotas.namespaces.is_none_or(|most| listed <= most),
            "{}: too many namespaces",
            path.display()
        );
    }
}

#[test]
fn no_template_contradicts_itself() {
    for tier in Tier::ALL {
        let found = tenantry_core::template::soundness::contradictions(&template(tier).spec);
        assert!(found.is_empty(), "{}: {found:?}", tier.as_str());
    }
}
