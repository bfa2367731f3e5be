//! Random edits in sequence: the objects must equal those of a fresh cluster.

use serde_json::{Value, json};

use crate::{
    cluster::{self, Cluster},
    shared::{
        compare::differences,
        edits::{Document, Editor},
        start,
    },
};

/// Steps between two comparisons.
const EVERY: usize = 10;
/// The most claims at a time; with the listed namespaces, fewer than any template of a walk grants.
const CLAIMS: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
    })
}

struct Walk {
    editor: Editor,
    cluster: Cluster,
    tenant: Value,
    template: Value,
    /// The edits since the last comparison.
    way: Vec<String>,
    compared: usize,
    refused: usize,
}

impl Walk {
    fn new(seed: u64) -> Self {
        Self {
            editor: Editor::new(seed),
            cluster: Cluster::new(),
            tenant: start::tenant(),
            template: start::template(),
            way: Vec::new(),
            compared: 0,
            refused: 0,
        }
    }

    /// Settles a cluster; returns whether the Tenant was accepted.
    fn settle(cluster: &mut Cluster, tenant: &Value, template: &Value) -> bool {
        let other = start::other_template();
        let named = match tenant["templateRef"]["name"].as_str() {
            Some(start::TEMPLATE) => Some(template),
            Some(start::OTHER_TEMPLATE) => Some(&other),
            _ => None,
        };
        cluster
            .settle(&cluster::tenant(tenant), &cluster::template(named))
            .is_ok()
    }

    fn step(&mut self) {
        if self.editor.below(20) == 0 {
            return self.claim();
        }
        let edit = self.editor.draw(&self.tenant, &self.template);
        let (tenant, template) = match edit.document {
            Document::Tenant => (edit.spec, self.template.clone()),
            Document::Template => (self.tenant.clone(), edit.spec),
        };
        self.way.push(edit.what);
        if Self::settle(&mut self.cluster, &tenant, &template) {
            (self.tenant, self.template) = (tenant, template);
        } else {
            self.refused += 1;
            self.way.push("(refused, and undone)".to_owned());
        }
    }

    /// An owner creates or deletes a claim.
    fn claim(&mut self) {
        let Cluster { claims, deleted, .. } = &mut self.cluster;
        if claims.len() < CLAIMS && self.template["selfService"] != "Disabled" && self.editor.below(2) == 0 {
            let name = (0..=CLAIMS)
                .map(|number| format!("asked-{number}"))
                .find(|name| !claims.contains(name) && !deleted.contains(name));
            claims.extend(name);
        } else if !claims.is_empty() {
            deleted.push(claims.remove(self.editor.below(claims.len())));
        }
        self.way.push(format!("claims {claims:?}"));
        Self::settle(&mut self.cluster, &self.tenant, &self.template);
    }

    /// Fails unless a fresh cluster would have the same objects. Two exceptions depend on history by design: retained
    /// and protected namespaces stay until the policy is Delete and the protection ends, and claimed namespaces stay when self-service ends.
    fn compare(&mut self) {
        self.tenant["deletionPolicy"] = json!("Delete");
        self.tenant["deletionProtection"] = json!(false);
        if self.template["selfService"] == "Disabled" || self.tenant["templateRef"]["name"] == start::OTHER_TEMPLATE {
            self.cluster.delete_claims();
        }
        assert!(
            Self::settle(&mut self.cluster, &self.tenant, &self.template),
            "what was carried out before is refused now"
        );
        let mut fresh = Cluster::new();
        fresh.claims.clone_from(&self.cluster.claims);
        assert!(
            Self::settle(&mut fresh, &self.tenant, &self.template),
            "what is carried out here is refused on a fresh cluster"
        );
        let different = differences(&self.cluster.state(), &fresh.state());
        assert!(
            different.is_empty(),
            "the way counts:\n{}\nafter\n{}",
            different.join("\n"),
            self.way.join("\n")
        );
        self.compared += 1;
        self.way.clear();
    }
}

#[test]
fn same_spec_gives_the_same_objects_on_any_path() {
    let seed = number("TENANTRY_TEST_SEED", fastrand::u64(..));
    let steps = usize::try_from(number("WALK_STEPS", 1000)).unwrap();
    eprintln!("TENANTRY_TEST_SEED={seed} WALK_STEPS={steps}");
    let mut walk = Walk::new(seed);
    assert!(Walk::settle(&mut walk.cluster, &walk.tenant, &walk.template));
    let start = (walk.tenant.clone(), walk.template.clone(), walk.cluster.state());
    for step in 1..=steps {
        walk.step();
        if step % EVERY == 0 {
            walk.compare();
        }
    }
    eprintln!(
        "{steps} steps, {} refused, compared {} times",
        walk.refused, walk.compared
    );
    assert!(
        walk.refused < steps / 4,
        "{} of {steps} edits were refused: the walk hardly moves",
        walk.refused
    );
    walk.cluster.delete_claims();
    (walk.tenant, walk.template) = (start.0, start.1);
    walk.compare();
    assert_eq!(
        differences(&walk.cluster.state(), &start.2),
        [""; 0],
        "the start is not as it was"
    );
}
