//! A ServiceAccount token that expires, and a new one in the same file, as a kubelet writes it.

use std::{fs, path::Path, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Secret, ServiceAccount},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
    config::Kubeconfig,
};
use serde_json::json;

use super::{Stand, eventually, is_left_out, plain};
use crate::common;

/// kube reads a token file again after a minute.
const REREAD: Duration = Duration::from_secs(90);

impl Stand {
    /// A token of the operator's that is valid while a Secret of this name exists.
    async fn token(&self, name: &str) -> String {
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), lab::NAMESPACE);
        let secret: Secret = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        let secret = secrets.create(&PostParams::default(), &secret).await.unwrap();
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Secret".to_owned()),
                    name: Some(name.to_owned()),
                    uid: secret.uid(),
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), lab::NAMESPACE);
        let answer = accounts
            .create_token_request(lab::RELEASE, &PostParams::default(), &request)
            .await
            .unwrap();
        answer.status.unwrap().token.unwrap()
    }

    /// A kubeconfig with a token file: in a pod, kube reads the ServiceAccount's token file in the same way.
    fn kubeconfig(&self, token: &Path) -> std::path::PathBuf {
        let file = Kubeconfig::read_from(self.lab.kubeconfig()).unwrap();
        let mut value = serde_json::to_value(&file).unwrap();
        for user in value["users"].as_array_mut().unwrap() {
            user["user"] = json!({ "tokenFile": token });
        }
        let path = self.lab.dir().join("by-token-file.kubeconfig");
        fs::write(&path, value.to_string()).unwrap();
        path
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_token_is_reread_from_its_file_without_restart() {
    if is_left_out() {
        return;
    }
    let stand = Stand::new().await;
    let path = stand.lab.dir().join("token");
    fs::write(&path, stand.token("first").await).unwrap();
    // Without leader election: a leader that cannot renew its lease exits, and the next process reads the file when it
    // starts.
    let options = common::binary()
        .arg(format!("--kubeconfig={}", stand.kubeconfig(&path).display()))
        .arg("--leader-elect=false");
    let mut operator = stand.lab.operator(options).await.unwrap();
    stand.create_numbered(0..2).await;
    stand.as_rendered(&[plain()]).await;

    let secrets: Api<Secret> = Api::namespaced(stand.admin.clone(), lab::NAMESPACE);
    let second = stand.token("second").await;
    secrets.delete("first", &DeleteParams::default()).await.unwrap();
    let configs: Api<ConfigMap> = Api::namespaced(stand.admin.clone(), "t0-a");
    let spoilt = std::time::Instant::now();
    eventually("the token to be refused", REREAD, || async {
        // An object that the operator must restore. It is no guard, so no rule is broken. It may be missing since the
        // last time.
        let _ = configs.delete("tenant-limits", &DeleteParams::default()).await;
        let log = operator.log_text();
        if log.contains("Unauthorized") {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    fs::write(&path, second).unwrap();
    stand.create_numbered(2..4).await;
    eventually("all to be Ready by the new token", REREAD, || async {
        if stand.witness.ready() == 4 {
            Ok(())
        } else {
            Err(operator.log_text().lines().last().unwrap_or_default().to_owned())
        }
    })
    .await;
    println!("all Ready {:?} after the token was spoilt", spoilt.elapsed());
    stand.as_rendered(&[plain()]).await;
    stand.judge().await;
    assert!(operator.runs().unwrap(), "{}", operator.log_text());
    assert!(operator.stop().await.unwrap().success());
}
