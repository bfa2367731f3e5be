//! Writes that meet conflicts again and again: each is a retry, and none counts as an error.

use controlplane::Audit;
use faultproxy::{Proxy, RuleFile};
use lab::Operator;
use serde_json::{Value, json};

use super::runs::alone;
use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    eventually,
};

const NAME: &str = "fought";

/// The sum of a metric's lines that have all these labels.
async fn sum(operator: &Operator, name: &str, labels: &[&str]) -> f64 {
    let text = operator.metrics().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let meant = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    meant
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_conflicts_counts_no_error() {
    let (lab, admin) = common::own(Audit::Metadata).await;
    let proxy = Proxy::start(lab.kubeconfig()).await.unwrap();
    let operator = lab.operator(alone(&proxy)).await.unwrap();
    let conflict = |resource: &str| -> Value {
        let matches = json!({ "verbs": ["update", "patch"], "resource": resource });
        json!({ "match": matches, "action": { "status": { "code": 409 } } })
    };
    let rules = json!({ "rules": [conflict("tenants"), conflict("tenanttemplates")] });
    proxy.set_rules(RuleFile::parse(&rules.to_string()).unwrap());
    let spec = json!({ "tier": "Standard", "quotas": { "pods": 10 } });
    common::create_template(&admin, &template(NAME, spec)).await;
    common::create(&admin, &tenant(NAME, NAME).owner("olga").namespace("a").build()).await;
    for controller in [r#"controller="tenant""#, r#"controller="template""#] {
        let labels = [controller, r#"outcome="conflict""#];
        eventually("conflicts to be met", PATIENCE, || async {
            let met = sum(&operator, "tenantry_reconcile_total", &labels).await;
            if met >= 3.0 { Ok(()) } else { Err(met) }
        })
        .await;
    }
    proxy.set_rules(RuleFile::default());
    common::ready(&admin, NAME).await;
    let errors = sum(&operator, "tenantry_reconcile_errors_total", &[]).await;
    let failed = sum(&operator, "tenantry_reconcile_total", &[r#"outcome="error""#]).await;
    assert_eq!([errors, failed].map(|count| count.to_string()), ["0", "0"]);
    eventually("nothing to be tried again", PATIENCE, || async {
        let waiting = sum(&operator, "tenantry_backing_off_objects", &[]).await;
        if waiting < 1.0 { Ok(()) } else { Err(waiting) }
    })
    .await;
    assert!(operator.stop().await.unwrap().success());
}
