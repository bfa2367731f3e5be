//! `tenantry adopt` lists what the API server would refuse, before anything breaks.

mod scene;

use controlplane::Audit;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::Tenant;

use self::scene::{
    adopt, all_of, api, bare_pod, create, delete, deployment, hold, leftover, scene, scratches, text, versions,
};
use crate::common::{self, PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn adopt_lists_refusals_and_changes_nothing_until_none_is_left() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (name, namespace) = scene(&admin, "adopt").await;
    let create = |plural, object| create(&admin, &namespace, plural, object);

    let privileged = json!({ "securityContext": { "privileged": true } });
    create("deployments", deployment("driver", &privileged)).await;
    create("deployments", deployment("harmless", &json!({}))).await;
    create("pods", bare_pod("tool", "docker.io/library/tool:1", "100m")).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "door" },
        "spec": { "type": "NodePort", "selector": { "app": "harmless" }, "ports": [{ "port": 80 }] },
    });
    create("services", service).await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "helpers" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "stranger" }],
    });
    create("rolebindings", binding).await;
    let deployments = api(&admin, &namespace, "deployments");
    eventually("the controllers to be done with the Deployments", PATIENCE, || async {
        let found = deployments.list(&ListParams::default()).await.unwrap();
        let waiting = found
            .items
            .iter()
            .find(|it| it.data["status"]["observedGeneration"] != 1);
        waiting.map_or(Ok(()), |it| Err(it.name_any()))
    })
    .await;

    let before = versions(&admin, &namespace).await;
    for yes in [&[][..], &["--yes"]] {
        let output = adopt(lab, &[&[&*namespace, "--tenant", &name], yes].concat());
        let (printed, all) = (text(&output.stdout), all_of(&output));
        assert_eq!(output.status.code(), Some(3), "{all}");
        let findings: Vec<&str> = printed
            .lines()
            .filter(|line| line.contains('/') && !line.starts_with(&namespace))
            .collect();
        let [driver, tool, helpers, door] = &findings[..] else {
            panic!("four findings: {all}")
        };
        assert!(
            driver.starts_with("Deployment/driver: Pod Security restricted:"),
            "{driver}"
        );
        assert!(driver.contains("privileged"), "{driver}");
        let image = format!("Pod/tool: policy tenantry-pods: tenant {name}: image docker.io/library/tool is not from");
        assert!(tool.starts_with(&image), "{tool}");
        let role =
            format!("RoleBinding/helpers: policy tenantry-role-bindings: namespace {namespace}: ClusterRole edit");
        assert!(helpers.starts_with(&role), "{helpers}");
        let remedy = format!("kubectl delete rolebinding helpers --namespace {namespace}");
        assert!(
            helpers.contains("User stranger") && helpers.ends_with(&remedy),
            "{helpers}"
        );
        let types = format!("Service/door: policy tenantry-services: tenant {name}: Services of type NodePort");
        assert!(door.starts_with(&types), "{door}");
        assert!(
            printed.contains(&format!("{namespace}: refusals: 4 (objects tried: 5)")),
            "{all}"
        );
        assert_eq!(versions(&admin, &namespace).await, before);
        assert_eq!(scratches(&admin, &namespace).await, [""; 0]);
    }

    delete(&admin, &namespace, "deployments", "driver").await;
    delete(&admin, &namespace, "pods", "tool").await;
    delete(&admin, &namespace, "services", "door").await;
    delete(&admin, &namespace, "rolebindings", "helpers").await;
    let output = adopt(lab, &[&namespace, "--tenant", &name, "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", all_of(&output));
    assert!(
        text(&output.stdout).contains("It is handed over"),
        "{}",
        all_of(&output)
    );
    common::ready(&admin, &name).await;
    let adopted = Api::<Namespace>::all(admin.clone()).get(&namespace).await.unwrap();
    assert_eq!(adopted.labels()["tenantry.dev/tenant"], name);
    let output = adopt(lab, &[&namespace, "--tenant", &name]);
    assert_eq!(
        text(&output.stderr),
        format!("error: namespace {namespace} belongs to tenant {name} already: there is nothing to hand over\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_alone_hands_no_namespace_over() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (name, namespace) = scene(&admin, "label").await;
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let change = async |metadata: Value| {
        let change = Patch::Merge(json!({ "metadata": metadata }));
        namespaces
            .patch(&namespace, &PatchParams::default(), &change)
            .await
            .unwrap()
    };
    let labelled = change(json!({ "labels": { "tenantry.dev/tenant": name } })).await;
    // The status then describes the labelled namespace, not the one from before.
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let touched = json!({ "spec": { "owners": [{ "kind": "User", "name": "lena" }] } });
    let touched = tenants
        .patch(&name, &PatchParams::default(), &Patch::Merge(touched))
        .await
        .unwrap();
    eventually("the Tenant to have been looked at again", PATIENCE, || async {
        let tenant = tenants.get(&name).await.unwrap();
        let observed = tenant.status.and_then(|status| status.observed_generation);
        if observed == touched.metadata.generation {
            Ok(())
        } else {
            Err(format!("{observed:?}"))
        }
    })
    .await;
    common::condition(&admin, &name, "Ready", "False", Some("ConflictingOwner")).await;
    let seen = namespaces.get(&namespace).await.unwrap();
    assert_eq!(
        seen.resource_version(),
        labelled.resource_version(),
        "nobody touched it"
    );

    change(json!({ "annotations": { "tenantry.dev/adopt-by": name } })).await;
    common::ready(&admin, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adopt_refuses_use_above_the_grant_unless_forced() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (name, namespace) = scene(&admin, "overfull").await;
    let create = |plural, object| create(&admin, &namespace, plural, object);
    for index in 0..3 {
        create(
            "pods",
            bare_pod(&format!("p{index}"), "registry.example.com/app:1", "1"),
        )
        .await;
    }
    let open = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "open" },
        "spec": { "podSelector": {}, "ingress": [{}] },
    });
    create("networkpolicies", open).await;
    let label = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
    Api::<Namespace>::all(admin.clone())
        .patch(&namespace, &PatchParams::default(), &Patch::Merge(label))
        .await
        .unwrap();

    let output = adopt(lab, &[&namespace, "--tenant", &name, "-o", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", all_of(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let seen: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            (
                finding["effect"].as_str().unwrap(),
                finding["message"].as_str().unwrap(),
            )
        })
        .collect();
    let [
        (refused, above_limits),
        (_, above_requests),
        (replaced, level),
        (stays, opens),
    ] = &seen[..]
    else {
        panic!("{report:#}")
    };
    assert_eq!((*refused, *replaced, *stays), ("Refused", "Replaced", "Stays"));
    assert!(
        above_limits.starts_with("would use 3 of the tenant's 2 limits.cpu; "),
        "{above_limits}"
    );
    assert!(
        above_requests.starts_with("would use 3 of the tenant's 2 requests.cpu; "),
        "{above_requests}"
    );
    assert_eq!(
        *level,
        "label pod-security.kubernetes.io/enforce: privileged becomes restricted"
    );
    assert!(opens.contains("stays allowed"), "{opens}");

    let output = adopt(lab, &[&namespace, "--tenant", &name, "--yes", "--force"]);
    assert_eq!(output.status.code(), Some(0), "{}", all_of(&output));
    common::condition(&admin, &name, "QuotaEnforced", "False", Some("QuotaAboveGrant")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adopt_checks_hosts_sizes_and_pods_of_every_account() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (name, namespace) = scene(&admin, "judged").await;
    let create = |plural, object| create(&admin, &namespace, plural, object);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "lake" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "100Gi" } } },
    });
    create("persistentvolumeclaims", claim).await;
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "front" },
        "spec": { "rules": [{
            "host": "shop.example.org",
            "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] },
        }] },
    });
    create("ingresses", ingress).await;
    let giant = json!({ "resources": { "requests": { "cpu": "3" }, "limits": { "cpu": "3", "memory": "64Mi" } } });
    create("deployments", deployment("giant", &giant)).await;
    for (job, image) in [
        ("nightly", "registry.example.com/app:1"),
        ("weekly", "docker.io/library/app:1"),
    ] {
        let mut pod = bare_pod(job, image, "100m");
        pod["spec"]["serviceAccountName"] = json!("robot");
        pod["spec"]["restartPolicy"] = json!("Never");
        let template = json!({ "spec": { "template": { "spec": pod["spec"] } } });
        let job = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": job },
            "spec": { "schedule": "@yearly", "jobTemplate": template },
        });
        create("cronjobs", job).await;
    }

    let output = adopt(lab, &[&namespace, "--tenant", &name]);
    assert_eq!(output.status.code(), Some(3), "{}", all_of(&output));
    let printed = text(&output.stdout);
    let expected = [
        "CronJob/weekly: policy tenantry-pods: ",
        "Deployment/giant: ResourceQuota: exceeded quota: tenantry, requested: ",
        "Ingress/front: policy tenantry-ingresses: ",
        "PersistentVolumeClaim/lake: LimitRange: maximum storage usage per PersistentVolumeClaim is 50Gi",
    ];
    assert_eq!(printed.lines().count(), expected.len() + 1, "{printed}");
    for (line, start) in printed.lines().zip(expected) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adopt_without_policies_checks_the_rest_and_reports_it() {
    let (lab, admin) = common::own(Audit::Off).await;
    lab.install(&["policies.enabled=false"]).unwrap();
    let _operator = lab.operator(common::binary()).await.unwrap();
    let (name, namespace) = scene(&admin, "bare").await;
    let create = |plural, object| create(&admin, &namespace, plural, object);
    let privileged = json!({ "securityContext": { "privileged": true } });
    create("deployments", deployment("driver", &privileged)).await;
    create("pods", bare_pod("tool", "docker.io/library/tool:1", "100m")).await;
    let output = adopt(&lab, &[&namespace, "--tenant", &name]);
    assert_eq!(output.status.code(), Some(3), "{}", all_of(&output));
    let printed = text(&output.stdout);
    let [driver, unjudged, summary] = &printed.lines().collect::<Vec<_>>()[..] else {
        panic!("{printed}")
    };
    assert!(
        driver.starts_with("Deployment/driver: Pod Security restricted:"),
        "{driver}"
    );
    assert!(unjudged.contains("policies are not installed"), "{unjudged}");
    assert!(summary.contains("refusals: 1 (objects tried: 2)"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adopt_leaves_nothing_behind_when_interrupted() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (name, namespace) = scene(&admin, "broken-off").await;
    let earlier = leftover(&admin, &name, &namespace).await;
    hold(&admin, &name, &namespace, &earlier).await;

    let before = versions(&admin, &namespace).await;
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .args(["adopt", &namespace, "--tenant", &name, "--yes", "--kubeconfig"])
        .arg(lab.kubeconfig())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the run to put guards into its scratch namespace", PATIENCE, || async {
        let standing = scratches(&admin, &namespace).await;
        let scratch = standing.iter().find(|scratch| **scratch != earlier);
        let quotas = api(&admin, scratch.ok_or("no namespace yet")?, "resourcequotas");
        let found = quotas.list(&ListParams::default()).await.unwrap();
        found.items.first().map(drop).ok_or("no quota yet")
    })
    .await;
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", all_of(&output));
    let said = text(&output.stderr);
    assert!(said.starts_with("error: interrupted: nothing was changed"), "{said}");
    assert_eq!(scratches(&admin, &namespace).await, [""; 0]);
    assert_eq!(versions(&admin, &namespace).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopt_explains_errors_in_one_line_and_removes_leftovers() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (name, namespace) = scene(&admin, "askew").await;
    let unlisted = format!("{name}-other");
    let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": unlisted } })).unwrap();
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    let left = leftover(&admin, &name, &namespace).await;
    let cases = [
        (
            &*namespace,
            "nobody-here",
            "there is no Tenant nobody-here: kubectl get tenants lists them".to_owned(),
        ),
        (
            "not-there",
            &*name,
            "there is no namespace not-there: kubectl get namespaces lists them".to_owned(),
        ),
        (
            "default",
            &*name,
            format!("namespaces of tenant {name} are called {name}-<name>"),
        ),
        (
            &*unlisted,
            &*name,
            "add {name: other} to its spec.namespaces".to_owned(),
        ),
    ];
    for (namespace, tenant, expected) in cases {
        let output = adopt(lab, &[namespace, "--tenant", tenant, "--yes"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{}", all_of(&output));
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(scratches(&admin, &namespace).await, [left]);
    let output = adopt(lab, &[&namespace, "--tenant", &name]);
    assert_eq!(output.status.code(), Some(0), "{}", all_of(&output));
    assert_eq!(scratches(&admin, &namespace).await, [""; 0]);
}
