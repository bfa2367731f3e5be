//! Exact arithmetic on Kubernetes quantities (`500m`, `10Gi`, `1e3`).
//!
//! A [`Quantity`] is an `i128` of nano-units, the finest step that Kubernetes keeps, and the family of suffixes it
//! was written in. Two quantities are equal when their values are: `1Gi == 1073741824`. Reading and printing follow
//! `k8s.io/apimachinery/pkg/api/resource` and are checked against it (crates/api/oracle/quantity), but for these cases,
//! where following it would hide a mistake:
//!
//! - text without a number before its suffix (`Ki`, `e3`, `+`) is refused; apimachinery reads most of it as 0;
//! - a value beyond ±2^127 nano-units (about 1.7e29 units) is refused; apimachinery grows without bound;
//! - an exponent that does not fit 32 bits is refused; apimachinery drops its upper half;
//! - a value that has no suffix of its own is printed with the largest there is (`1000E`); apimachinery prints `1`.

mod parse;
mod wire;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter;

pub use parse::ParseQuantityError;

/// Nano-units in one unit.
const NANOS: i128 = 1_000_000_000;
/// Nano-units in a thousandth of a unit.
const NANOS_PER_MILLI: i128 = 1_000_000;

/// The family of suffixes that a quantity is printed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `n u m "" k M G T P E`: powers of 1000.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`: powers of 1024.
    BinarySi,
    /// `e3`, `e-6`: powers of ten, in steps of three.
    DecimalExponent,
}

/// An exact amount of something, in nano-units.
///
/// Equality, order and hash depend on the value only; the format decides how it prints.
#[derive(Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self::from_nanos(0, Format::DecimalSi);

    /// An amount of `nanos` nano-units.
    pub const fn from_nanos(nanos: i128, format: Format) -> Self {
        Self { nanos, format }
    }

    /// An amount of `units` whole units; `None` beyond about ±1.7e29.
    pub const fn from_units(units: i128, format: Format) -> Option<Self> {
        match units.checked_mul(NANOS) {
            Some(nanos) => Some(Self { nanos, format }),
            None => None,
        }
    }

    /// An amount of `milli` thousandths of a unit; `None` beyond about ±1.7e32.
    pub const fn from_milli(milli: i128, format: Format) -> Option<Self> {
        match milli.checked_mul(NANOS_PER_MILLI) {
            Some(nanos) => Some(Self { nanos, format }),
            None => None,
        }
    }

    /// The amount in nano-units; always exact.
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// The family of suffixes that it prints in.
    pub const fn format(self) -> Format {
        self.format
    }

    /// The same amount, printed in another family of suffixes.
    #[must_use]
    pub const fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Whether this is zero.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether this is below zero.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The amount in whole units, if it has no fraction of one.
    pub const fn to_units(self) -> Option<i128> {
        exact(self.nanos, NANOS)
    }

    /// The amount in thousandths of a unit, if it has no fraction of one.
    pub const fn to_milli(self) -> Option<i128> {
        exact(self.nanos, NANOS_PER_MILLI)
    }

    /// The amount in whole units, rounded up (towards positive infinity).
    pub const fn ceil_units(self) -> i128 {
        self.nanos.div_euclid(NANOS) + (self.nanos.rem_euclid(NANOS) != 0) as i128
    }

    /// The amount in whole units, rounded down (towards negative infinity).
    pub const fn floor_units(self) -> i128 {
        self.nanos.div_euclid(NANOS)
    }

    /// The amount in thousandths of a unit, rounded up (towards positive infinity).
    pub const fn ceil_milli(self) -> i128 {
        self.nanos.div_euclid(NANOS_PER_MILLI) + (self.nanos.rem_euclid(NANOS_PER_MILLI) != 0) as i128
    }

    /// The amount in thousandths of a unit, rounded down (towards negative infinity).
    pub const fn floor_milli(self) -> i128 {
        self.nanos.div_euclid(NANOS_PER_MILLI)
    }

    /// The amount as a float, for metrics and percentages only: it rounds.
    #[allow(clippy::cast_precision_loss, reason = "the one place that is documented to round")]
    pub fn to_f64_lossy(self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// The sum; `None` if it leaves the range. Prints as the left side does, or as the right if the left is zero.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.nanos.checked_add(other.nanos) {
            Some(nanos) => Some(Self {
                nanos,
                format: self.common_format(other),
            }),
            None => None,
        }
    }

    /// The difference; `None` if it leaves the range. Prints as the left side does, or as the right if the left is zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.nanos.checked_sub(other.nanos) {
            Some(nanos) => Some(Self {
                nanos,
                format: self.common_format(other),
            }),
            None => None,
        }
    }

    /// The sum, saturating at the ends of the range.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            format: self.common_format(other),
        }
    }

    /// The difference, saturating at the ends of the range. It may be negative: see [`Self::is_negative`].
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_sub(other.nanos),
            format: self.common_format(other),
        }
    }

    /// The sum of many; `None` if it leaves the range.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    const fn common_format(self, other: Self) -> Format {
        if self.nanos == 0 { other.format } else { self.format }
    }
}

const fn exact(nanos: i128, unit: i128) -> Option<i128> {
    if nanos % unit == 0 { Some(nanos / unit) } else { None }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quantity({self})")
    }
}

/// The canonical form: no fraction, and the largest suffix that loses nothing.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        let magnitude = self.nanos.unsigned_abs();
        let text = match self.format {
            _ if magnitude == 0 => "0".to_owned(),
            Format::BinarySi => binary(magnitude).unwrap_or_else(|| decimal(magnitude)),
            Format::DecimalSi => decimal(magnitude),
            Format::DecimalExponent => decimal_exponent(magnitude),
        };
        f.pad(&format!("{sign}{text}"))
    }
}

/// `None` where apimachinery too falls back to decimal: below 1024, or with a fraction.
fn binary(nanos: u128) -> Option<String> {
    let units = nanos / NANOS.unsigned_abs();
    if units < 1024 || !nanos.is_multiple_of(NANOS.unsigned_abs()) {
        return None;
    }
    let (mantissa, steps) = reduce(units, 1024, 6);
    Some(format!("{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][steps]))
}

fn decimal(nanos: u128) -> String {
    let (mantissa, steps) = reduce(nanos, 1000, 9);
    format!("{mantissa}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][steps])
}

fn decimal_exponent(nanos: u128) -> String {
    match reduce(nanos, 1000, usize::MAX) {
        (mantissa, 3) => mantissa.to_string(),
        (mantissa, steps) if steps < 3 => format!("{mantissa}e-{}", (3 - steps) * 3),
        (mantissa, steps) => format!("{mantissa}e{}", (steps - 3) * 3),
    }
}

/// Divides by `base` as often as that is exact, at most `limit` times. `value` is not zero.
fn reduce(value: u128, base: u128, limit: usize) -> (u128, usize) {
    iter::successors(Some((value, 0)), |&(rest, steps)| {
        (rest.is_multiple_of(base) && steps < limit).then(|| (rest / base, steps + 1))
    })
    .last()
    .unwrap_or((value, 0))
}

#[cfg(test)]
mod tests;
