//! `cargo bench --bench steps`: how long the pure steps of a reconcile take on one core. They need no cluster.
//!
//! Criterion stores the last result under target/criterion. It prints the difference of the next one, and whether that
//! is noise.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    path::Path,
    sync::Arc,
    time::Duration,
};

use criterion::{BenchmarkId, Criterion};
use serde_json::json;
use tenantry_api::{
    Quantity,
    v1alpha1::{Tenant, TenantTemplate},
};
use tenantry_cli::render::render;
use tenantry_core::{
    allocation::{Observation, Spread, Unit, plan},
    settings::Settings,
    tenant::{
        build::build,
        facts::{Facts, Served, Template},
        validate::validate,
    },
};

/// Namespaces of the tenants; Enterprise has room for thirty.
const NAMESPACES: [usize; 3] = [1, 3, 30];

fn settings() -> Settings {
    Settings {
        accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
        model_resource: "inferenceservices.serving.kserve.io".to_owned(),
        admission: BTreeSet::new(),
        status_interval: Duration::ZERO,
    }
}

fn tenant(namespaces: usize) -> Tenant {
    let namespaces: Vec<_> = (0..namespaces)
        .map(|index| json!({ "name": format!("n{index}"), "weight": 1 + index % 3 }))
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" },
        "spec": {
            "templateRef": { "name": "enterprise" },
            "owners": [{ "kind": "User", "name": "ann@example.com" }, { "kind": "Group", "name": "auditors", "role": "Viewer" }],
            "namespaces": namespaces,
        },
    }))
    .unwrap()
}

/// A namespace with work to do: in use, with a quota that must change, and with a refused pod.
fn observation(index: u32) -> Observation {
    let quantity = |amount: u32| Some(amount.to_string().parse::<Quantity>().unwrap());
    Observation {
        weight: Some(1 + index % 3),
        spec_hard: quantity(16),
        status_hard: quantity(16),
        used: quantity(index % 17),
        pending: Vec::new(),
        asked: if index.is_multiple_of(4) { quantity(2) } else { None },
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/templates/enterprise.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let template: TenantTemplate = serde_saphyr::from_str(&text).unwrap();
    let settings = settings();
    let facts = Facts {
        template: Template::Found(Arc::new(template.spec)),
        ..Facts::default()
    };
    for namespaces in NAMESPACES {
        let tenant = tenant(namespaces);
        let valid = validate(&tenant, &facts, &settings).unwrap();
        let files = [
            ("template".to_owned(), text.clone()),
            ("tenant".to_owned(), serde_json::to_string(&tenant).unwrap()),
        ];
        let seen: BTreeMap<String, Observation> = (0..u32::try_from(namespaces).unwrap())
            .map(|index| (format!("acme-n{index}"), observation(index)))
            .collect();
        let grant: Option<Quantity> = Some((16 * namespaces).to_string().parse().unwrap());
        let mut group = |name: &str, routine: &mut dyn FnMut()| {
            criterion.bench_with_input(BenchmarkId::new(name, namespaces), &(), |bencher, ()| {
                bencher.iter(&mut *routine);
            });
        };
        group("validate", &mut || {
            black_box(validate(black_box(&tenant), black_box(&facts), &settings).unwrap());
        });
        group("build", &mut || {
            black_box(build(black_box(&valid)));
        });
        group("plan the allocation", &mut || {
            black_box(plan(grant, Unit::Whole, None, Spread::default(), black_box(&seen)));
        });
        group("render", &mut || {
            black_box(render(black_box(&files), &Served::default(), &settings).unwrap());
        });
    }
    criterion.final_summary();
}
