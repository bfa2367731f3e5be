//! Lists in pages.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::ListParams;

/// Turns to the page after the one that says this of itself; tells whether there is one.
pub fn turn(params: &mut ListParams, page: &ListMeta) -> bool {
    // Go's clients and some servers write no token as an empty one.
    params.continue_token = page.continue_.clone().filter(|token| !token.is_empty());
    params.continue_token.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_turned_until_one_names_no_other() {
        let mut params = ListParams::default().limit(10);
        let page = |token: Option<&str>| ListMeta {
            continue_: token.map(str::to_owned),
            ..ListMeta::default()
        };
        assert!(turn(&mut params, &page(Some("next"))));
        assert_eq!(
            (params.limit, params.continue_token.as_deref()),
            (Some(10), Some("next"))
        );
        assert!(!turn(&mut params, &page(Some(""))));
        assert!(!turn(&mut params, &page(None)));
        assert_eq!(params.continue_token, None);
    }
}
