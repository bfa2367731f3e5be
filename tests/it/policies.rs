//! Runs the cases of `tests/policies/`: who may write which objects in tenants' namespaces, on a real API server with
//! the chart.
//!
//! The format is described in `tests/policies/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

/// How long the API server may take to see new policies, parameters and roles.
const PATIENCE: Duration = Duration::from_secs(30);

/// The user of a request.
#[derive(Deserialize, Clone, Debug)]
struct Identity {
    #[serde(rename = "as")]
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// An object that must exist before the cases, or a request to wait for.
#[derive(Deserialize, Clone, Debug)]
struct Setup {
    #[serde(flatten)]
    identity: Identity,
    /// `<apiVersion>/<plural>`.
    resource: String,
    #[serde(default)]
    object: Option<Value>,
    #[serde(default)]
    wait: Option<Target>,
    /// Retry: a right that it needs may not be in force yet.
    #[serde(default)]
    repeat: bool,
}

#[derive(Deserialize, Clone, Debug)]
struct Target {
    namespace: String,
    name: String,
}

#[derive(Deserialize, Debug)]
struct World {
    setup: Vec<Setup>,
    ready: Vec<Case>,
}

#[derive(Deserialize, Debug)]
struct File {
    #[serde(default)]
    bases: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

/// One request and the answer that it must get.
#[derive(Deserialize, Clone, Debug)]
struct Case {
    /// A sentence.
    #[serde(rename = "case")]
    title: String,
    #[serde(flatten)]
    identity: Identity,
    verb: Verb,
    resource: String,
    #[serde(default = "acme")]
    namespace: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    subresource: Option<String>,
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    with: Value,
    #[serde(default)]
    strategic: bool,
    expect: Expect,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    result: Value,
}

fn acme() -> String {
    "acme-dev".to_owned()
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Create,
    Update,
    Patch,
    Delete,
    Connect,
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allowed,
    Denied,
}

/// Sets up `<folder>/world.yaml` and runs the cases of every other file. Returns one line for each failure, and the
/// number of cases. `client` must be a cluster admin; `operator` is the user name of the operator.
pub async fn run(client: &Client, folder: &Path, operator: &str) -> Result<(usize, Vec<String>), String> {
    let runner = Runner { client, operator };
    let world: World = read(&folder.join("world.yaml"))?;
    for setup in &world.setup {
        runner.set_up(setup).await?;
    }
    for case in &world.ready {
        runner.until_it_holds(case).await?;
    }
    let mut count = 0;
    let mut failures = Vec::new();
    for path in files(folder)? {
        let file: File = read(&path)?;
        for case in &file.cases {
            count += 1;
            if let Err(got) = runner.judge(case, &file.bases).await {
                failures.push(format!(
                    "{}: {}: expected {:?} {:?}, got {got}",
                    path.display(),
                    case.title,
                    case.expect,
                    case.message
                ));
            }
        }
    }
    Ok((count, failures))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("failed to list {}: {error}", folder.display()))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    files.retain(|path| {
        path.extension().is_some_and(|end| end == "yaml") && path.file_name().is_some_and(|name| name != "world.yaml")
    });
    files.sort();
    Ok(files)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("failed to parse {}: {error}", path.display()))
}

/// The API server's answer: its status code, and the object or the `Status`.
type Answer = (u16, Value);

struct Runner<'a> {
    client: &'a Client,
    operator: &'a str,
}

impl Runner<'_> {
    async fn set_up(&self, setup: &Setup) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (code, answer) = match (&setup.object, &setup.wait) {
                (Some(object), _) if setup.identity.user == "OPERATOR" => self.write(setup, object).await?,
                (Some(object), _) => self.apply(setup, object).await?,
                (None, Some(target)) => {
                    let path = path(&setup.resource, &target.namespace, Some(&target.name), None);
                    self.send(Method::GET, &path, "application/json", None, None).await?
                }
                (None, None) => return Err("a setup needs an object or a target to wait for".to_owned()),
            };
            if code < 300 {
                return Ok(());
            }
            if (setup.wait.is_none() && !setup.repeat) || Instant::now() > deadline {
                return Err(format!("failed to set up {setup:?}: {code} {}", text(&answer)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn apply(&self, setup: &Setup, object: &Value) -> Result<Answer, String> {
        let (namespace, name) = place(object);
        let path = path(&setup.resource, namespace, name, None) + "?fieldManager=policy-test&force=true";
        let media = "application/apply-patch+yaml";
        self.send(Method::PATCH, &path, media, Some(object), Some(&setup.identity))
            .await
    }

    /// Writes as the operator does, with its rights: create, else replace.
    async fn write(&self, setup: &Setup, object: &Value) -> Result<Answer, String> {
        let (namespace, name) = place(object);
        let (media, who) = ("application/json", Some(&setup.identity));
        let all = path(&setup.resource, namespace, None, None);
        let created = self.send(Method::POST, &all, media, Some(object), who).await?;
        if created.0 != 409 {
            return Ok(created);
        }
        let one = path(&setup.resource, namespace, name, None);
        let (_, live) = self.send(Method::GET, &one, media, None, None).await?;
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        self.send(Method::PUT, &one, media, Some(&object), who).await
    }

    async fn until_it_holds(&self, case: &Case) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(got) = self.judge(case, &BTreeMap::new()).await {
            if Instant::now() > deadline {
                return Err(format!("{} is still not so: got {got}", case.title));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The answer, if it differs from the expected one.
    async fn judge(&self, case: &Case, bases: &BTreeMap<String, Value>) -> Result<(), String> {
        let (code, answer) = self.ask(case, bases).await?;
        let got = || Err(format!("{code} {}", text(&answer)));
        match case.expect {
            Expect::Denied => {
                let said = case
                    .message
                    .as_deref()
                    .filter(|part| !part.is_empty())
                    .ok_or("a refusal needs a message")?;
                if matches!(code, 403 | 422) && text(&answer).contains(said) {
                    Ok(())
                } else {
                    got()
                }
            }
            // No kubelet answers: the test shows only that admission allowed it.
            Expect::Allowed if case.verb == Verb::Connect => {
                if code == 403 {
                    got()
                } else {
                    Ok(())
                }
            }
            Expect::Allowed if code < 300 && contains(&answer, &case.result) => Ok(()),
            Expect::Allowed => got(),
        }
    }

    async fn ask(&self, case: &Case, bases: &BTreeMap<String, Value>) -> Result<Answer, String> {
        let place = path(
            &case.resource,
            &case.namespace,
            case.name.as_deref(),
            case.subresource.as_deref(),
        );
        let try_out = format!("{place}?dryRun=All");
        let who = Some(&case.identity);
        match case.verb {
            Verb::Create => {
                let mut object = match &case.base {
                    Some(base) => bases
                        .get(base)
                        .cloned()
                        .ok_or_else(|| format!("there is no base {base}"))?,
                    None => Value::Null,
                };
                merge(&mut object, &case.with);
                self.send(Method::POST, &try_out, "application/json", Some(&object), who)
                    .await
            }
            Verb::Update => {
                let stored = path(&case.resource, &case.namespace, case.name.as_deref(), None);
                let (code, mut object) = self.send(Method::GET, &stored, "application/json", None, None).await?;
                if code >= 300 {
                    return Err(format!("failed to read {stored}: {code}"));
                }
                merge(&mut object, &case.with);
                self.send(Method::PUT, &try_out, "application/json", Some(&object), who)
                    .await
            }
            Verb::Patch => {
                let kind = if case.strategic {
                    "strategic-merge-patch"
                } else {
                    "merge-patch"
                };
                self.send(
                    Method::PATCH,
                    &try_out,
                    &format!("application/{kind}+json"),
                    Some(&case.with),
                    who,
                )
                .await
            }
            Verb::Delete => self.send(Method::DELETE, &try_out, "application/json", None, who).await,
            Verb::Connect => {
                self.send(
                    Method::POST,
                    &format!("{place}?command=id&stdout=true"),
                    "application/json",
                    None,
                    who,
                )
                .await
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: Option<&Value>,
        who: Option<&Identity>,
    ) -> Result<Answer, String> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| error.to_string())?
            .unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, media)
            .body(body.into())
            .map_err(|error| error.to_string())?;
        for (name, value) in who.into_iter().flat_map(|who| self.impersonation(who)) {
            let name = name.parse::<HeaderName>().map_err(|error| error.to_string())?;
            request
                .headers_mut()
                .append(name, value.parse::<HeaderValue>().map_err(|error| error.to_string())?);
        }
        // Not `request`, which turns refusals into errors and accepts only JSON.
        let response = self
            .client
            .send(request)
            .await
            .map_err(|error| format!("failed to reach the API server: {error}"))?;
        let code = response.status().as_u16();
        let bytes = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1 << 24)
            .await
            .map_err(|error| error.to_string())?;
        Ok((
            code,
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        ))
    }

    fn impersonation(&self, who: &Identity) -> Vec<(String, String)> {
        let user = if who.user == "OPERATOR" {
            self.operator
        } else {
            &who.user
        };
        let mut headers = vec![("impersonate-user".to_owned(), user.to_owned())];
        headers.extend(
            who.groups
                .iter()
                .map(|group| ("impersonate-group".to_owned(), group.clone())),
        );
        for (key, values) in &who.extra {
            // Keys may contain a slash, which a header name may not.
            let name = format!("impersonate-extra-{}", key.replace('/', "%2f"));
            headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
        }
        headers
    }
}

fn path(resource: &str, namespace: &str, name: Option<&str>, subresource: Option<&str>) -> String {
    let (version, plural) = resource.rsplit_once('/').unwrap_or(("v1", resource));
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let mut path = format!("{root}/{version}");
    if !namespace.is_empty() {
        path = path + "/namespaces/" + namespace;
    }
    for part in [Some(plural), name, subresource].into_iter().flatten() {
        path = path + "/" + part;
    }
    path
}

/// Namespace (empty: none) and name.
fn place(object: &Value) -> (&str, Option<&str>) {
    let meta = &object["metadata"];
    (meta["namespace"].as_str().unwrap_or_default(), meta["name"].as_str())
}

fn text(answer: &Value) -> &str {
    answer
        .as_str()
        .or_else(|| answer["message"].as_str())
        .unwrap_or_default()
}

/// JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        if !patch.is_null() {
            into.clone_from(patch);
        }
        return;
    };
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = into else { return };
    for (key, value) in fields {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Whether `have` contains `want`: maps field by field, null for absent fields, everything else whole.
fn contains(have: &Value, want: &Value) -> bool {
    match want {
        Value::Null => true,
        Value::Object(fields) => fields.iter().all(|(key, value)| match have.get(key) {
            None => value.is_null(),
            Some(have) => !value.is_null() && contains(have, value),
        }),
        other => have == other,
    }
}
