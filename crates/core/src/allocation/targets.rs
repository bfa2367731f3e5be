//! How much each namespace should come to have.

use std::collections::BTreeMap;

use super::{Observation, split, sum};

/// The target of each namespace in nano-units, in the order of `namespaces`.
///
/// They sum to `total` nano-units, and none is below what its namespace uses. If all use together is more than `total`,
/// they are just what is used. If all namespaces are on their way out, they keep what they use and the rest lies idle.
/// Parts by weight are multiples of `step` nano-units as far as [`split`] makes them so.
pub fn targets(total: i128, step: i128, namespaces: &BTreeMap<String, Observation>) -> Vec<i128> {
    let used: Vec<i128> = namespaces.values().map(Observation::used).collect();
    let weights: Vec<Option<u32>> = namespaces.values().map(|seen| seen.weight).collect();
    let mut targets = used.clone();
    if sum(used.iter().copied()) >= total {
        return targets;
    }
    // Those that share by weight. Whoever uses more than its part leaves, keeps what it uses, and makes the parts of
    // the others smaller; so it would leave in every later round too, and the loop ends after at most one round each.
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
