//! The size of one pod of a tenant.

use std::collections::BTreeMap;

use super::QuotaObservation;
use tenantry_api::quantity::Quantity;

/// What one pod of the tenant takes of `resource`, in nano-units: use divided by the number of pods, if that is the same
/// in all namespaces that have pods. `None` if it differs, if pods are not counted, or if pods do not take this resource.
///
/// Pods of different sizes may have the same average. Shares are then rounded to that average, which does no harm.
pub fn pod_size(resource: &str, quotas: &BTreeMap<String, QuotaObservation>) -> Option<i128> {
    if !matches!(
        resource,
        "requests.cpu" | "limits.cpu" | "requests.memory" | "limits.memory"
    ) {
        return None;
    }
    let used = |quota: &QuotaObservation, resource: &str| quota.used.get(resource).copied().unwrap_or(Quantity::ZERO);
    let mut sizes = quotas.values().filter_map(|quota| {
        let pods = used(quota, "pods").to_units().filter(|pods| *pods > 0)?;
        let amount = used(quota, resource).nanos();
        Some((amount > 0 && amount % pods == 0).then_some(amount / pods))
    });
    let size = sizes.next()?;
    sizes.all(|other| other == size).then_some(size)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(used: &[(&str, &str)]) -> Option<i128> {
        let quota = |(i, (pods, cpu)): (usize, &(&str, &str))| {
            let amounts = [("pods", *pods), ("requests.cpu", *cpu)];
            let used = amounts.map(|(resource, amount)| (resource.to_owned(), amount.parse().unwrap()));
            let observation = QuotaObservation {
                used: used.into(),
                ..QuotaObservation::default()
            };
            (i.to_string(), observation)
        };
        pod_size("requests.cpu", &used.iter().enumerate().map(quota).collect())
    }

    #[test]
    fn pod_size_is_known_if_it_is_the_same_in_all_namespaces() {
        assert_eq!(size(&[("3", "300m"), ("0", "0"), ("1", "100m")]), Some(100_000_000));
        assert_eq!(size(&[("3", "300m"), ("1", "200m")]), None);
        assert_eq!(size(&[("3", "100m")]), None);
        assert_eq!(size(&[("3", "0")]), None);
        assert_eq!(size(&[("0", "0")]), None);
        assert_eq!(size(&[]), None);
    }

    #[test]
    fn only_cpu_and_memory_have_a_pod_size() {
        let used = ["pods", "requests.nvidia.com/gpu"].map(|resource| (resource.to_owned(), "2".parse().unwrap()));
        let observation = QuotaObservation {
            used: used.into(),
            ..QuotaObservation::default()
        };
        let quotas = [("a".to_owned(), observation)].into();
        assert_eq!(pod_size("requests.nvidia.com/gpu", &quotas), None);
        assert_eq!(pod_size("pods", &quotas), None);
    }
}
