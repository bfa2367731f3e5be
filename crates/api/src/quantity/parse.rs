//! Text to quantity, with the rounding and the caps of apimachinery.

use std::str::FromStr;

use super::{Format, NANOS, Quantity};

/// Why a text is not a quantity. Each variant carries the text, cut after 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// There is no number before its suffix, or nothing at all.
    #[error("failed to parse quantity {0:?}: it has no number; write for example 500m, 2 or 10Gi")]
    NoNumber(String),
    /// The text after the number is not a suffix.
    #[error(
        "failed to parse quantity {0:?}: what follows the number is none of n u m k M G T P E, Ki Mi Gi Ti Pi Ei, e<exponent>"
    )]
    Suffix(String),
    /// The number does not fit a [`Quantity`].
    #[error("failed to parse quantity {0:?}: it is beyond 1.7e29")]
    OutOfRange(String),
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(64).collect::<String>();
        let (negative, unsigned) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (text.starts_with('-'), rest),
            None => (false, text),
        };
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseQuantityError::NoNumber(shown()));
        }
        let (magnitude, format) = match Suffix::parse(suffix).ok_or_else(|| ParseQuantityError::Suffix(shown()))? {
            Suffix::Binary(exponent) => binary(whole, fraction, exponent),
            Suffix::Decimal(exponent, format) => (decimal(whole, fraction, exponent), format),
        };
        let nanos = magnitude
            .and_then(|magnitude| i128::try_from(magnitude).ok())
            .ok_or_else(|| ParseQuantityError::OutOfRange(shown()))?;
        Ok(Self::from_nanos(if negative { -nanos } else { nanos }, format))
    }
}

enum Suffix {
    /// A power of two.
    Binary(u32),
    /// A power of ten.
    Decimal(i32, Format),
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        let exponent = match text {
            "Ki" => return Some(Self::Binary(10)),
            "Mi" => return Some(Self::Binary(20)),
            "Gi" => return Some(Self::Binary(30)),
            "Ti" => return Some(Self::Binary(40)),
            "Pi" => return Some(Self::Binary(50)),
            "Ei" => return Some(Self::Binary(60)),
            "n" => -9,
            "u" => -6,
            "m" => -3,
            "" => 0,
            "k" => 3,
            "M" => 6,
            "G" => 9,
            "T" => 12,
            "P" => 15,
            "E" => 18,
            _ => {
                let exponent = text.strip_prefix(['e', 'E'])?.parse().ok()?;
                return Some(Self::Decimal(exponent, Format::DecimalExponent));
            }
        };
        Some(Self::Decimal(exponent, Format::DecimalSi))
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Nano-units of `whole.fraction` times ten to the `exponent`, any rest rounded up. Works on the digits, so that no
/// length of input can overflow before the result is known to fit.
fn decimal(whole: &str, fraction: &str, exponent: i32) -> Option<u128> {
    let digits = [whole, fraction].concat();
    let stripped = digits.trim_end_matches('0');
    let shift = i128::from(exponent) + 9 - i128::try_from(fraction.len()).ok()?
        + i128::try_from(digits.len() - stripped.len()).ok()?;
    let significant = stripped.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    match u32::try_from(shift) {
        Ok(up) => significant.parse::<u128>().ok()?.checked_mul(10_u128.checked_pow(up)?),
        Err(_) if shift > 0 => None,
        Err(_) => {
            // The last significant digit is not zero, so dropping any of them leaves a rest to round up.
            let kept = usize::try_from(-shift)
                .ok()
                .and_then(|dropped| significant.len().checked_sub(dropped));
            match kept {
                None | Some(0) => Some(1),
                Some(kept) => significant[..kept].parse::<u128>().ok()?.checked_add(1),
            }
        }
    }
}

/// Nano-units of `whole.fraction` times two to the `exponent` (at most 60), any rest rounded up, capped at 2^63-1
/// units; and the format, as less than one unit prints better in decimal.
fn binary(whole: &str, fraction: &str, exponent: u32) -> (Option<u128>, Format) {
    let cap = u128::from(i64::MAX.unsigned_abs()) * NANOS.unsigned_abs();
    let factor = NANOS.unsigned_abs() << exponent;
    // From the last digit to the first; nested floors equal the floor of the whole, and any rest means round up.
    let (floor, rest) = fraction.bytes().rev().fold((0, false), |(below, rest), digit| {
        let sum = u128::from(digit - b'0') * factor + below;
        (sum / 10, rest || !sum.is_multiple_of(10))
    });
    let whole = whole.trim_start_matches('0');
    let nanos = if whole.is_empty() {
        Some(0)
    } else {
        whole.parse::<u128>().ok().and_then(|n| n.checked_mul(factor))
    }
    .and_then(|nanos| nanos.checked_add(floor + u128::from(rest)))
    .map_or(cap, |nanos| nanos.min(cap));
    let format = if nanos > 0 && nanos < NANOS.unsigned_abs() {
        Format::DecimalSi
    } else {
        Format::BinarySi
    };
    (Some(nanos), format)
}
