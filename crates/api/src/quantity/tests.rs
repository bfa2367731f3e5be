use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as K8sQuantity;
use kube::CustomResourceExt;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// What apimachinery prints; see crates/api/oracle/quantity/main.go.
#[derive(Deserialize)]
struct Vectors {
    parsed: Vec<Parsed>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Parsed {
    input: String,
    ok: bool,
    #[serde(default)]
    canonical: String,
    #[serde(default)]
    nanos: String,
}

#[derive(Deserialize)]
struct Pair {
    left: String,
    right: String,
    cmp: i8,
    sum: String,
    difference: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../oracle/quantity/vectors.json")).unwrap()
}

/// Whether apimachinery would need a suffix beyond E, and so prints a number without one.
fn has_no_suffix(quantity: Quantity) -> bool {
    quantity.format() == Format::DecimalSi && quantity.nanos() % 10_i128.pow(30) == 0 && !quantity.is_zero()
}

fn starts_with_a_number(text: &str) -> bool {
    text.trim_start_matches(['+', '-', '.'])
        .starts_with(|c: char| c.is_ascii_digit())
}

#[test]
fn reads_and_prints_as_apimachinery_does() {
    let disagreements: Vec<String> = vectors()
        .parsed
        .into_iter()
        .filter_map(
            |Parsed {
                 input,
                 ok,
                 canonical,
                 nanos,
             }| {
                let shown: String = input.chars().take(60).collect();
                let fits = nanos.parse::<i128>().is_ok();
                match input.parse::<Quantity>() {
                    Ok(ours) if !ok => Some(format!("{shown:?}: ours {ours:?}, theirs an error")),
                    Ok(ours) if ours.nanos().to_string() != nanos => {
                        Some(format!("{shown:?}: ours {} nanos, theirs {nanos}", ours.nanos()))
                    }
                    Ok(ours) if has_no_suffix(ours) => {
                        (quantity(&ours.to_string()) != ours).then(|| format!("{shown:?}: {ours} is another value"))
                    }
                    Ok(ours) => {
                        (ours.to_string() != canonical).then(|| format!("{shown:?}: {ours}, theirs {canonical}"))
                    }
                    Err(_) if !ok => None,
                    Err(ParseQuantityError::NoNumber(_)) if !starts_with_a_number(&input) => None,
                    Err(ParseQuantityError::OutOfRange(_)) if !fits => None,
                    Err(error) => Some(format!("{shown:?}: {error}, theirs {canonical}")),
                }
            },
        )
        .collect();
    assert!(disagreements.is_empty(), "{disagreements:#?}");
}

#[test]
fn compares_adds_and_subtracts_as_apimachinery_does() {
    for Pair {
        left,
        right,
        cmp,
        sum,
        difference,
    } in vectors().pairs
    {
        let (l, r) = (quantity(&left), quantity(&right));
        assert_eq!(l.cmp(&r) as i8, cmp, "{left} <=> {right}");
        assert_eq!(l.checked_add(r).unwrap().to_string(), sum, "{left} + {right}");
        assert_eq!(l.checked_sub(r).unwrap().to_string(), difference, "{left} - {right}");
    }
}

#[test]
fn text_without_a_number_is_refused() {
    for text in ["", "Ki", "m", "+", "-", ".", "-.Gi", "abc", "e3"] {
        assert_eq!(text.parse::<Quantity>(), Err(ParseQuantityError::NoNumber(text.into())));
    }
}

#[test]
fn an_unknown_suffix_is_refused() {
    for text in ["1K", "1GB", "1 Gi", "1e", "1e99999999999", "1٣"] {
        assert_eq!(text.parse::<Quantity>(), Err(ParseQuantityError::Suffix(text.into())));
    }
}

#[test]
fn a_value_out_of_range_is_refused_with_a_short_error() {
    let text = "9".repeat(1000);
    assert_eq!(
        text.parse::<Quantity>(),
        Err(ParseQuantityError::OutOfRange("9".repeat(64)))
    );
}

#[test]
fn arithmetic_at_the_ends_of_the_range_neither_panics_nor_wraps() {
    let most = Quantity::from_nanos(i128::MAX, Format::BinarySi);
    let least = Quantity::from_nanos(i128::MIN, Format::DecimalExponent);
    let nano = quantity("1n");
    assert_eq!((most.checked_add(nano), most.saturating_add(nano)), (None, most));
    assert_eq!((least.checked_sub(nano), least.saturating_sub(nano)), (None, least));
    assert_eq!(Quantity::from_units(i128::MAX, Format::DecimalSi), None);
    assert_eq!(Quantity::from_milli(i128::MAX, Format::DecimalSi), None);
    assert_eq!(least.to_string(), "-170141183460469231731687303715884105728e-9");
    assert!(least.floor_units() < least.ceil_units() && least.floor_milli() < least.ceil_milli());
}

#[test]
fn conversions_to_units_are_exact_or_round_as_named() {
    let cases = [
        ("1500m", None, 1, 2),
        ("-1500m", None, -2, -1),
        ("2", Some(2), 2, 2),
        ("1n", None, 0, 1),
    ];
    for (text, units, floor, ceil) in cases {
        let q = quantity(text);
        assert_eq!(
            (q.to_units(), q.floor_units(), q.ceil_units()),
            (units, floor, ceil),
            "{text}"
        );
    }
    let q = quantity("1500500u");
    assert_eq!((q.to_milli(), q.floor_milli(), q.ceil_milli()), (None, 1500, 1501));
    assert_eq!(quantity("1500m").to_milli(), Some(1500));
}

#[test]
fn equal_values_in_different_formats_are_equal() {
    let written: HashSet<Quantity> = ["1Gi", "1024Mi", "1073741824", "1073741824e0"].map(quantity).into();
    assert_eq!(written.len(), 1);
}

#[test]
fn json_reads_strings_and_integers_and_writes_strings() {
    let read = |value: serde_json::Value| serde_json::from_value::<Quantity>(value).map(|q| json!(q));
    assert_eq!(read(json!("1.5Gi")).unwrap(), json!("1536Mi"));
    assert_eq!(read(json!(2000)).unwrap(), json!("2k"));
    assert_eq!(read(json!(-7)).unwrap(), json!("-7"));
    for wrong in [json!(1.5), json!(null), json!(true), json!("1 Gi"), json!({})] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn k8s_openapi_quantities_convert_both_ways() {
    let theirs = K8sQuantity::from(quantity("0.5"));
    assert_eq!(theirs, K8sQuantity("500m".into()));
    assert_eq!(Quantity::try_from(&theirs), Ok(quantity("500m")));
    assert!(Quantity::try_from(K8sQuantity("x".into())).is_err());
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, kube::CustomResource)]
#[kube(group = "example.dev", version = "v1", kind = "Sample")]
struct SampleSpec {
    plain: Quantity,
    optional: Option<Quantity>,
    named: BTreeMap<String, Quantity>,
}

/// The API server takes this schema as structural (tried on 1.36, with and without `nullable`).
#[test]
fn the_schema_of_every_field_is_a_structural_int_or_string() {
    let crd = json!(Sample::crd());
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    for schema in [
        &spec["plain"],
        &spec["optional"],
        &spec["named"]["additionalProperties"],
    ] {
        assert_eq!(schema["x-kubernetes-int-or-string"], json!(true), "{schema}");
        assert_eq!(schema["maxLength"], json!(48));
        assert!(schema["pattern"].is_string() && schema["description"].is_string());
        assert_eq!((schema.get("type"), schema.get("anyOf")), (None, None), "{schema}");
    }
    assert_eq!(spec["optional"]["nullable"], json!(true));
}

fn any_quantity() -> impl Strategy<Value = Quantity> {
    let formats = prop::sample::select(vec![Format::DecimalSi, Format::BinarySi, Format::DecimalExponent]);
    let edges = prop::sample::select(vec![0, 1, -1, i128::MAX, i128::MIN, 1 << 60, NANOS << 10, -NANOS << 40]);
    let round = (-1_000_000_i128..1_000_000, 0_u32..30).prop_map(|(m, e)| m * 10_i128.pow(e));
    let binary = (-1_000_000_i128..1_000_000, 0_u32..60).prop_map(|(m, e)| (m << e) * NANOS);
    let nanos = prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from), edges, round, binary];
    (nanos, formats).prop_map(|(nanos, format)| Quantity::from_nanos(nanos, format))
}

proptest! {
    #[test]
    fn a_printed_value_parses_to_the_same_value(q in any_quantity()) {
        // Text in binary is capped at 2^63-1 as apimachinery does it, and i128::MIN has no positive counterpart.
        let capped = q.to_string().ends_with('i') && q.nanos().unsigned_abs() > NANOS.unsigned_abs() << 63;
        if !capped && q.nanos() != i128::MIN {
            prop_assert_eq!(q.to_string().parse::<Quantity>(), Ok(q));
        }
    }

    #[test]
    fn the_text_for_the_api_server_is_stable_in_a_round_trip(q in any_quantity()) {
        let text = K8sQuantity::from(q);
        if let Ok(again) = Quantity::try_from(&text) && again == q {
            prop_assert_eq!(K8sQuantity::from(again), text);
        }
    }

    #[test]
    fn addition_is_commutative_associative_and_reversible(a in any_quantity(), b in any_quantity(), c in any_quantity()) {
        prop_assert_eq!(a.checked_add(b), b.checked_add(a));
        if let (Some(ab), Some(bc)) = (a.checked_add(b), b.checked_add(c)) {
            prop_assert_eq!(ab.checked_add(c), a.checked_add(bc));
            prop_assert_eq!(ab.checked_sub(b), Some(a));
        }
    }

    #[test]
    fn quantities_are_ordered_by_value(a in any_quantity(), b in any_quantity()) {
        prop_assert_eq!(a.cmp(&b), a.nanos().cmp(&b.nanos()));
        prop_assert_eq!(a == b, a.nanos() == b.nanos());
    }

    #[test]
    fn rounding_brackets_the_value(q in any_quantity()) {
        prop_assume!(q.nanos().checked_abs().is_some_and(|n| n < i128::MAX - NANOS));
        prop_assert!(q.floor_units() * NANOS <= q.nanos() && q.nanos() <= q.ceil_units() * NANOS);
        prop_assert!(q.floor_milli() * NANOS_PER_MILLI <= q.nanos() && q.nanos() <= q.ceil_milli() * NANOS_PER_MILLI);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP0-9+-]{0,12}|.{0,12}") {
        let _ = text.parse::<Quantity>();
    }
}
