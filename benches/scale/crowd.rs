//! A tenant's pods, created in parallel as fast as possible.

use std::time::Instant;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use lab::{Lab, eventually};

use crate::{PARALLEL, report::per_second, tenants::create_roomy, totals, watching::PATIENCE};

/// A tenant with four namespaces and room for all pods that its owner creates in one of them.
pub struct Crowd {
    admin: Api<Pod>,
    owner: Api<Pod>,
}

impl Crowd {
    pub async fn prepare(lab: &Lab, client: &Client) -> Self {
        create_roomy(client, "crowd", 4).await;
        let owner = lab.as_user("owner-crowd", &[]).await.unwrap();
        Self {
            admin: Api::namespaced(client.clone(), "crowd-n0"),
            owner: Api::namespaced(owner, "crowd-n0"),
        }
    }

    pub async fn pods_per_second(&self) -> f64 {
        const PODS: usize = 800;
        let pod = totals::pod();
        let started = Instant::now();
        stream::iter(0..PODS)
            .for_each_concurrent(PARALLEL, |_| async {
                drop(self.owner.create(&PostParams::default(), &pod).await.unwrap());
            })
            .await;
        let rate = per_second(PODS, started.elapsed());
        let now = DeleteParams::default().grace_period(0);
        self.admin
            .delete_collection(&now, &ListParams::default())
            .await
            .unwrap();
        eventually("the crowd's pods to be gone", PATIENCE, || async {
            match self
                .admin
                .list_metadata(&ListParams::default())
                .await
                .unwrap()
                .items
                .len()
            {
                0 => Ok(()),
                left => Err(left),
            }
        })
        .await;
        rate
    }
}
