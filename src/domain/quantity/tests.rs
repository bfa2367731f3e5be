use super::*;

#[test]
fn equal_values_are_equal_in_any_format() {
    assert_eq!("1Gi".parse::<Quantity>(), "1073741824".parse::<Quantity>());
}
