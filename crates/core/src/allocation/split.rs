//! The exact split of an amount by weight.

/// Splits `total` by `weights` into parts that sum to exactly `total`, by the method of the largest remainder.
///
/// Parts are multiples of `step`, and each differs from its exact part by less than one `step`. Of equal remainders the
/// earlier one is rounded up first. The first part whose weight is not 0 also gets the remainder of `total` below one
/// `step`. If all weights are 0, they count as equal. A negative `total` counts as 0, and a `step` below 1 as 1. Without
/// weights there are no parts.
pub fn split(total: i128, step: i128, weights: &[u32]) -> Vec<i128> {
    if weights.iter().all(|weight| *weight == 0) {
        return if weights.is_empty() {
            Vec::new()
        } else {
            split(total, step, &vec![1; weights.len()])
        };
    }
    let (total, step) = (total.max(0), step.max(1));
    let steps = total / step;
    let sum: i128 = weights.iter().copied().map(i128::from).sum();
    // steps * weight / sum without the product, which may overflow: both factors of `rest * weight` are small.
    let (whole, rest) = (steps / sum, steps % sum);
    let exact = |weight: &u32| (i128::from(*weight) * whole, rest * i128::from(*weight));
    let mut parts: Vec<i128> = weights
        .iter()
        .map(exact)
        .map(|(whole, rest)| whole + rest / sum)
        .collect();

    let mut order: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(exact(&weights[i]).1 % sum));
    let missing = steps - parts.iter().sum::<i128>();
    for (i, _) in order.iter().zip(0..missing) {
        parts[*i] += 1;
    }
    for part in &mut parts {
        *part *= step;
    }
    if let Some(first) = weights.iter().position(|weight| *weight > 0) {
        parts[first] += total % step;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_follow_the_weights_and_sum_to_the_total() {
        assert_eq!(split(20, 1, &[1, 1, 2]), [5, 5, 10]);
        assert_eq!(split(10, 1, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(split(10, 1, &[1, 5, 1]), [2, 7, 1]);
        assert_eq!(split(2, 1, &[1, 1, 1]), [1, 1, 0]);
    }

    #[test]
    fn weight_zero_takes_nothing_unless_all_are_zero() {
        assert_eq!(split(7, 1, &[0, 3]), [0, 7]);
        assert_eq!(split(7, 1, &[0, 0]), [4, 3]);
        assert_eq!(split(7, 1, &[]), [0_i128; 0]);
    }

    #[test]
    fn a_remainder_below_one_step_is_not_lost() {
        assert_eq!(split(107, 10, &[0, 1, 1]), [0, 57, 50]);
    }

    #[test]
    fn extreme_numbers_neither_panic_nor_overflow() {
        assert_eq!(split(i128::MAX, 1, &[u32::MAX; 1000]).iter().sum::<i128>(), i128::MAX);
        assert_eq!(split(i128::MIN, i128::MIN, &[1, 2]), [0, 0]);
        assert_eq!(split(5, i128::MAX, &[1, 2]), [5, 0]);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_total_and_are_less_than_a_step_off(
            total in 0..i128::MAX,
            step in 1_i128..1 << 60,
            weights in prop::collection::vec(prop_oneof![0_u32..4, any::<u32>()], 1..40),
        ) {
            let parts = split(total, step, &weights);
            prop_assert_eq!(parts.iter().sum::<i128>(), total);
            let sum: u64 = weights.iter().copied().map(u64::from).sum();
            prop_assume!(sum > 0);
            let steps = total / step;
            for (i, (part, weight)) in parts.iter().zip(&weights).enumerate() {
                let extra = if weights.iter().position(|w| *w > 0) == Some(i) { total % step } else { 0 };
                prop_assert_eq!((part - extra) % step, 0);
                // |part / step - steps * weight / sum| < 1, checked only if the product does not overflow.
                if let Some(product) = steps.checked_mul(i128::from(*weight)) {
                    prop_assert!(((part - extra) / step - product / i128::from(sum)) <= 1);
                    prop_assert!((part - extra) / step >= product / i128::from(sum));
                }
            }
        }
    }
}
