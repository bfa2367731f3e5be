//! Paginated lists.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::ListParams;

/// Sets `params` to the page after `page`, and returns whether there is one.
pub fn turn(params: &mut ListParams, page: &ListMeta) -> bool {
    // Go's clients and some servers write an empty token for the last page.
    params.continue_token = page.continue_.clone().filter(|token| !token.is_empty());
    params.continue_token.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_a_token_is_the_last() {
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
