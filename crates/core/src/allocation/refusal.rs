//! Requests that a ResourceQuota refused, read from the API server's message.

use std::collections::BTreeMap;

use tenantry_api::quantity::Quantity;

/// A request that a ResourceQuota refused, read from the API server's message.
///
/// Controllers repeat that message in their `FailedCreate` events, so it shows what a ReplicaSet or a Job waits for.
/// Anyone who may write events can forge such a message. A forged one only moves targets, which does no harm, and only
/// amounts that siblings do not use above their floors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the ResourceQuota that refused.
    pub quota: String,
    /// The requested amount of each resource that would have exceeded its limit, by key of `spec.hard`; above zero.
    pub requested: BTreeMap<String, Quantity>,
    /// The use of these resources at that time. Empty if the message was truncated before it.
    pub used: BTreeMap<String, Quantity>,
}

impl Refusal {
    /// Reads `... exceeded quota: <name>, requested: <list>, used: <list>, limited: <list>`, where a list is
    /// `<resource>=<quantity>` joined by commas. `None` if the message has another form, or requests nothing.
    pub fn parse(message: &str) -> Option<Self> {
        let (_, refusal) = message.split_once("exceeded quota: ")?;
        let (quota, lists) = refusal.split_once(", requested: ")?;
        // If `used` is missing, the message may be truncated within the last requested amount.
        let (requested, rest) = lists.split_once(", used: ")?;
        let mut requested = amounts(requested)?;
        requested.retain(|_, amount| *amount > Quantity::ZERO);
        if quota.is_empty() || quota.contains(char::is_whitespace) || requested.is_empty() {
            return None;
        }
        let used = rest.split_once(", limited: ").and_then(|(used, _)| amounts(used));
        Some(Self {
            quota: quota.to_owned(),
            requested,
            used: used.unwrap_or_default(),
        })
    }

    /// How much of a resource the request still needs in addition to use `now`; `None` once as much has been admitted.
    pub fn asked(&self, resource: &str, now: Quantity) -> Option<Quantity> {
        let requested = *self.requested.get(resource)?;
        let then = self.used.get(resource).copied().unwrap_or(now);
        let asked = then.min(now).saturating_add(requested).saturating_sub(now);
        (asked > Quantity::ZERO).then_some(asked)
    }
}

/// Parses a list of amounts; if a resource occurs twice, the larger amount counts. `None` if it is no such list.
fn amounts(list: &str) -> Option<BTreeMap<String, Quantity>> {
    let mut amounts = BTreeMap::new();
    for pair in list.split(',') {
        let (resource, amount) = pair.split_once('=')?;
        let amount: Quantity = amount.parse().ok()?;
        if resource.is_empty() || resource.contains(char::is_whitespace) {
            return None;
        }
        let larger = amounts.entry(resource.to_owned()).or_insert(amount);
        *larger = amount.max(*larger);
    }
    Some(amounts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    fn list<const N: usize>(amounts: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
        amounts
            .into_iter()
            .map(|(resource, text)| (resource.to_owned(), amount(text)))
            .collect()
    }

    #[test]
    fn messages_of_workload_controllers_are_parsed() {
        let replica_set = r#"Error creating: pods "web-7d9c5b8f6-x2x9p" is forbidden: exceeded quota: tenantry, requested: pods=1,requests.cpu=3, used: pods=5,requests.cpu=2500m, limited: pods=5,requests.cpu=5"#;
        let refusal = Refusal::parse(replica_set).unwrap();
        assert_eq!(refusal.quota, "tenantry");
        assert_eq!(refusal.requested, list([("pods", "1"), ("requests.cpu", "3")]));
        assert_eq!(refusal.used, list([("pods", "5"), ("requests.cpu", "2500m")]));
        let claim = r#"create Claim data-db-0 for Pod db-0 in StatefulSet db failed error: persistentvolumeclaims "data-db-0" is forbidden: exceeded quota: tenantry, requested: requests.storage=10Gi, used: requests.storage=95Gi, limited: requests.storage=100Gi"#;
        assert_eq!(
            Refusal::parse(claim).unwrap().requested,
            list([("requests.storage", "10Gi")])
        );
        let aggregated = r#"(combined from similar events): Error creating: pods "train-5lq8z" is forbidden: exceeded quota: tenantry, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=2"#;
        assert_eq!(
            Refusal::parse(aggregated).unwrap().requested,
            list([("requests.nvidia.com/gpu", "4")])
        );
    }

    #[test]
    fn a_truncated_message_counts_if_its_requests_are_complete() {
        let whole =
            "exceeded quota: q, requested: limits.memory=1500Mi, used: limits.memory=12Gi, limited: limits.memory=13Gi";
        let cut = |at: &str| Refusal::parse(&whole[..whole.find(at).unwrap()]);
        assert_eq!(cut("13Gi").unwrap().used, list([("limits.memory", "12Gi")]));
        assert_eq!(cut("2Gi").unwrap().used, BTreeMap::new());
        assert_eq!(cut("00Mi"), None);
    }

    #[test]
    fn other_messages_are_not_parsed() {
        for message in [
            "",
            "exceeded quota: ",
            "exceeded quota: q, requested: , used: , limited: ",
            "exceeded quota: q, requested: pods, used: pods=1, limited: pods=1",
            "exceeded quota: q, requested: pods=many, used: pods=1, limited: pods=1",
            "exceeded quota: q, requested: pods=-1, used: pods=1, limited: pods=1",
            "exceeded quota: q, requested: =1, used: pods=1, limited: pods=1",
            "exceeded quota: a b, requested: pods=1, used: pods=1, limited: pods=1",
            r#"Error creating: pods "web-1" is forbidden: failed quota: tenantry: must specify limits.cpu for: web"#,
        ] {
            assert_eq!(Refusal::parse(message), None, "{message}");
        }
    }

    #[test]
    fn a_request_ends_when_as_much_has_been_admitted() {
        let refusal = Refusal {
            requested: list([("pods", "3")]),
            used: list([("pods", "5")]),
            ..Refusal::default()
        };
        let asked = |now| refusal.asked("pods", amount(now));
        assert_eq!(asked("5"), Some(amount("3")));
        assert_eq!(
            asked("2"),
            Some(amount("3")),
            "the request still needs its whole amount"
        );
        assert_eq!(asked("7"), Some(amount("1")));
        assert_eq!(asked("8"), None);
        assert_eq!(refusal.asked("requests.cpu", Quantity::ZERO), None);
    }

    fn resource() -> impl Strategy<Value = String> {
        "(requests\\.|limits\\.|count/)?[a-z][a-z.-]{0,20}(/[a-z]{1,8})?"
    }

    fn amounts_of(digits: std::ops::Range<u64>) -> impl Strategy<Value = BTreeMap<String, String>> {
        let text = (digits, prop::sample::select(vec!["", "m", "Ki", "Gi", "M", "e3"]));
        prop::collection::btree_map(resource(), text.prop_map(|(n, suffix)| format!("{n}{suffix}")), 1..5)
    }

    fn print(amounts: &BTreeMap<String, String>) -> String {
        let pairs: Vec<String> = amounts.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.join(",")
    }

    proptest! {
        #[test]
        fn every_message_of_the_api_server_is_parsed(
            prefix in "[a-zA-Z():\" ]{0,40}",
            quota in "[a-z0-9][a-z0-9.-]{0,30}",
            requested in amounts_of(1..u64::MAX),
            used in amounts_of(0..u64::MAX),
        ) {
            let message = format!(
                "{prefix}exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
                print(&requested), print(&used), print(&used),
            );
            let parsed = |list: &BTreeMap<String, String>| -> BTreeMap<String, Quantity> {
                list.iter().map(|(k, v)| (k.clone(), amount(v))).collect()
            };
            let refusal = Refusal::parse(&message).unwrap();
            prop_assert_eq!(refusal.quota, quota);
            prop_assert_eq!(refusal.requested, parsed(&requested));
            prop_assert_eq!(refusal.used, parsed(&used));
        }

        #[test]
        fn parse_never_panics_and_never_gives_a_zero_request(
            parts in prop::collection::vec(prop_oneof![
                Just("exceeded quota: ".to_owned()), Just(", requested: ".to_owned()), Just(", used: ".to_owned()),
                Just(", limited: ".to_owned()), Just("pods=1".to_owned()), Just(",".to_owned()), Just("=".to_owned()),
                "[0-9]{0,60}[mKGTE]?i?", any::<String>(),
            ], 0..12),
        ) {
            if let Some(refusal) = Refusal::parse(&parts.concat()) {
                for (resource, amount) in &refusal.requested {
                    prop_assert!(*amount > Quantity::ZERO);
                    let max = Quantity::from_nanos(i128::MAX, amount.format());
                    for now in [Quantity::ZERO, *amount, max] {
                        prop_assert!(refusal.asked(resource, now).is_none_or(|asked| asked <= *amount));
                    }
                }
            }
        }
    }
}
