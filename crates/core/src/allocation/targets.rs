//! The target of each namespace when the spread is fixed.

use std::collections::BTreeMap;

use super::{Observation, split, sum};

/// The target of each namespace in nano-units, in the order of `namespaces`.
///
/// They sum to `total` nano-units, and none is below what its namespace uses. If total use is more than `total`, each
/// target is what is used. If no namespace has a weight, each keeps what it uses and the rest stays idle. Parts by weight
/// are multiples of `step` nano-units, with the remainder as in [`split`].
pub fn targets(total: i128, step: i128, namespaces: &BTreeMap<String, Observation>) -> Vec<i128> {
    let used: Vec<i128> = namespaces.values().map(Observation::used).collect();
    let weights: Vec<Option<u32>> = namespaces.values().map(|seen| seen.weight).collect();
    let mut targets = used.clone();
    if sum(used.iter().copied()) >= total {
        return targets;
    }
    // Namespaces that share by weight. One that uses more than its part drops out, keeps what it uses, and makes the parts
    // of the others smaller. It would drop out in every later round too, so each namespace causes at most one round.
    let mut sharing: Vec<usize> = (0..weights.len()).filter(|&i| weights[i].is_some()).collect();
    loop {
        let kept = sum((0..used.len()).filter(|i| !sharing.contains(i)).map(|i| used[i]));
        let sharing_weights: Vec<u32> = sharing.iter().filter_map(|&i| weights[i]).collect();
        let parts = split(total - kept, step, &sharing_weights);
        let within: Vec<usize> = sharing
            .iter()
            .zip(&parts)
            .filter(|(i, part)| used[**i] <= **part)
            .map(|(i, _)| *i)
            .collect();
        if within.len() == sharing.len() {
            for (i, part) in sharing.into_iter().zip(parts) {
                targets[i] = part;
            }
            return targets;
        }
        sharing = within;
    }
}
