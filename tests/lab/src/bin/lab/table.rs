//! Tenants as a small table that follows their status.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::bail;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

use crate::say;

const HEADER: [&str; 5] = ["TENANT", "TIER", "NAMESPACES", "READY", "WHY"];

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In the order of [`HEADER`].
    cells: [String; 5],
    /// Ready for the current generation.
    pub ready: bool,
    /// What a person must do first, for the current generation.
    pub stalled: Option<String>,
}

impl Row {
    /// The Tenant.
    pub fn name(&self) -> &str {
        &self.cells[0]
    }

    /// Whether waiting is useless: it is Ready, or waits for a person.
    pub fn is_settled(&self) -> bool {
        self.ready || self.stalled.is_some()
    }
}

/// Every Tenant, by name.
pub async fn tenants(client: &Client) -> anyhow::Result<Vec<Row>> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("tenantry.dev", "v1alpha1", "Tenant"));
    let tenants = Api::<DynamicObject>::all_with(client.clone(), &kind)
        .list(&ListParams::default())
        .await;
    let tenants = match tenants {
        Err(kube::Error::Api(answer)) if answer.is_not_found() => {
            bail!(
                "the API server does not know Tenants any more: their definition is gone; `make run` installs it again"
            )
        }
        tenants => tenants?,
    };
    Ok(tenants.iter().map(row).collect())
}

fn row(tenant: &DynamicObject) -> Row {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("-").to_owned();
    let status = &tenant.data["status"];
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let field = |name: &str| text(ready.and_then(|condition| condition.get(name)));
    let observed = status["observedGeneration"].as_i64() == tenant.metadata.generation;
    let is_stalled = |condition: &&Value| condition["type"] == "Stalled" && condition["status"] == "True";
    let stalled = conditions.iter().find(is_stalled).filter(|_| observed);
    Row {
        ready: field("status") == "True" && observed,
        stalled: stalled.map(|condition| text(condition.get("message"))),
        cells: [
            tenant.name_any(),
            text(status.get("tier")),
            text(status.get("namespacesReady")),
            field("status"),
            field("reason"),
        ],
    }
}

/// Shows the table until every tenant is Ready or waits for a person, or `limit` has passed; returns the last rows. On
/// a terminal lines change in place; elsewhere each change prints a line.
pub async fn watch(client: &Client, limit: Duration) -> anyhow::Result<Vec<Row>> {
    let started = Instant::now();
    let terminal = std::io::stdout().is_terminal();
    let mut shown: Vec<Row> = Vec::new();
    loop {
        let rows = tenants(client).await?;
        if rows != shown {
            if terminal {
                if !shown.is_empty() {
                    // Move up by as many lines as were printed, and clear from there.
                    let _ = write!(std::io::stdout(), "\x1b[{}A\x1b[J", shown.len() + 1);
                }
                print(&rows);
            } else {
                if shown.is_empty() {
                    say(&line(&HEADER.map(str::to_owned)));
                }
                for row in rows.iter().filter(|row| !shown.contains(row)) {
                    say(&line(&row.cells));
                }
            }
            shown = rows;
        }
        if shown.iter().all(Row::is_settled) || started.elapsed() > limit {
            return Ok(shown);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The current table.
pub fn print(rows: &[Row]) {
    say(&line(&HEADER.map(str::to_owned)));
    for row in rows {
        say(&line(&row.cells));
    }
}

fn line([tenant, tier, namespaces, ready, why]: &[String; 5]) -> String {
    format!("  {tenant:<16}{tier:<16}{namespaces:<13}{ready:<9}{why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(status: &Value) -> DynamicObject {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant",
            "metadata": { "name": "acme", "generation": 2 }, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn tenant_without_status_is_a_row_of_dashes() {
        let row = row(&tenant(&Value::Null));
        assert!(!row.ready);
        assert_eq!(row.cells, ["acme", "-", "-", "-", "-"]);
    }

    #[test]
    fn stalled_tenant_shows_its_reason() {
        let status = serde_json::json!({
            "observedGeneration": 2,
            "conditions": [{ "type": "Stalled", "status": "True", "reason": "ConflictingOwner", "message": "hand it over" }],
        });
        assert_eq!(row(&tenant(&status)).stalled.as_deref(), Some("hand it over"));
    }

    #[test]
    fn ready_counts_only_for_the_current_generation() {
        let status = |generation: i64| {
            serde_json::json!({
                "observedGeneration": generation, "tier": "Free", "namespacesReady": "1/1",
                "conditions": [{ "type": "Ready", "status": "True", "reason": "Reconciled" }],
            })
        };
        assert!(!row(&tenant(&status(1))).ready);
        assert!(row(&tenant(&status(2))).ready);
    }
}
