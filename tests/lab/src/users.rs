//! Acting as somebody else, as `kubectl --as` does.

use kube::Config;

/// The same access, acting as `user` in `groups`.
pub fn impersonate(mut config: Config, user: &str, groups: &[&str]) -> Config {
    config.auth_info.impersonate = Some(user.to_owned());
    let groups = groups.iter().copied().chain(["system:authenticated"]);
    config.auth_info.impersonate_groups = Some(groups.map(str::to_owned).collect());
    config
}
