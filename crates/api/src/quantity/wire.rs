//! Quantities in JSON, in k8s-openapi objects and in CRD schemas.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as K8sQuantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Format, ParseQuantityError, Quantity};

/// Text that the API server accepts in our fields: all that [`Quantity`] parses, and values out of its range.
const PATTERN: &str = r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$";

/// Longest text that the API server accepts in our fields; the longest canonical text has 42 characters.
const MAX_LENGTH: u32 = 48;

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a string, or an integer, because the API server accepts both in an int-or-string field.
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity: an integer, or a string such as \"500m\" or \"10Gi\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Quantity, E> {
                Quantity::from_units(value.into(), Format::DecimalSi).ok_or_else(|| E::custom("out of range"))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
                Quantity::from_units(value.into(), Format::DecimalSi).ok_or_else(|| E::custom("out of range"))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Quantity, E> {
                value.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The text that the API server returns unchanged. 385000 in the binary format prints without a suffix; the API server
/// reads it as decimal and returns `385k`. A comparison of texts would then always show a change.
impl From<Quantity> for K8sQuantity {
    fn from(quantity: Quantity) -> Self {
        let text = quantity.to_string();
        if text.ends_with(|c: char| c.is_ascii_digit()) && quantity.format() == Format::BinarySi {
            return Self(quantity.with_format(Format::DecimalSi).to_string());
        }
        Self(text)
    }
}

impl TryFrom<&K8sQuantity> for Quantity {
    type Error = ParseQuantityError;

    fn try_from(quantity: &K8sQuantity) -> Result<Self, Self::Error> {
        quantity.0.parse()
    }
}

impl TryFrom<K8sQuantity> for Quantity {
    type Error = ParseQuantityError;

    fn try_from(quantity: K8sQuantity) -> Result<Self, Self::Error> {
        Self::try_from(&quantity)
    }
}

/// A structural CRD schema: int-or-string, with the pattern for strings. It lacks the usual `anyOf` of both types: that
/// adds nothing, and kube removes the types from it.
impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount: an integer, or a string such as 500m, 2 or 10Gi.",
            "x-kubernetes-int-or-string": true,
            "pattern": PATTERN,
            "maxLength": MAX_LENGTH,
        })
    }
}
