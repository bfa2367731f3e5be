//! Runs the admission cases of `tests/cases/`: each is one request, and whether the API server admits it.
//!
//! The format is described in `tests/cases/README.md`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use kube::Client;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::{self, ApiResource, Scope};
use serde::Deserialize;
use serde_json::{Value, json};

/// One request and the answer that it must get.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A sentence.
    name: String,
    /// User to act as; left out: the client's own user.
    #[serde(default, rename = "as")]
    user: Option<String>,
    /// Groups to act as, with `as`.
    #[serde(default)]
    groups: Vec<String>,
    /// Extra attributes of the user, with `as`.
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
    verb: Verb,
    /// The manifest; for patch and delete only its apiVersion, kind and metadata matter.
    object: Value,
    /// A JSON merge patch, with verb patch.
    #[serde(default)]
    patch: Option<Value>,
    /// Subresource such as `status`.
    #[serde(default)]
    subresource: Option<String>,
    expect: Expect,
    /// Parts that the refusal must contain, all of them.
    #[serde(default)]
    message: Vec<String>,
    /// Send it for real instead of as a dry run: sets up state for the cases below.
    #[serde(default)]
    keep: bool,
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Create,
    Apply,
    Update,
    Patch,
    Delete,
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allowed,
    Denied,
}

/// A case with another answer than expected.
#[derive(Debug)]
pub struct Failure {
    /// The file of the case.
    pub file: PathBuf,
    /// Its name, or empty if the file itself is wrong.
    pub case: String,
    /// What should have happened.
    pub expected: String,
    /// What happened.
    pub got: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            case,
            expected,
            got,
        } = self;
        write!(
            f,
            "{}: {case}\n  expected: {expected}\n  got:      {got}",
            file.display()
        )
    }
}

/// Runs every case of the files, in their order, and returns the failures. `client` must be a cluster admin.
pub async fn run_cases(client: Client, files: &[&Path]) -> Vec<Failure> {
    let mut runner = Runner {
        client,
        kinds: HashMap::new(),
    };
    let mut failures = Vec::new();
    for file in files {
        let failure = |case: &str, expected: String, got: String| Failure {
            file: file.to_path_buf(),
            case: case.to_owned(),
            expected,
            got,
        };
        let cases = match read(file) {
            Ok(cases) => cases,
            Err(error) => {
                failures.push(failure("", "a file of cases".to_owned(), error));
                continue;
            }
        };
        for case in cases {
            let answer = runner.request(&case).await;
            if let Err((expected, got)) = judge(&case, answer) {
                failures.push(failure(&case.name, expected, got));
            }
        }
    }
    failures
}

fn read(file: &Path) -> Result<Vec<Case>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("failed to read it: {error}"))?;
    let cases: Vec<Case> =
        serde_saphyr::from_multiple(&text).map_err(|error| format!("failed to parse it: {error}"))?;
    match cases
        .iter()
        .find(|case| case.expect == Expect::Denied && case.message.is_empty())
    {
        Some(case) => Err(format!(
            "case \"{}\" is denied without a message: any refusal at all would pass",
            case.name
        )),
        None if cases.is_empty() => Err("it holds no case".to_owned()),
        None => Ok(cases),
    }
}

/// The answer to a request.
enum Answer {
    Allowed,
    /// The API server's refusal (HTTP 4xx), verbatim.
    Denied(String),
    /// No verdict: no such kind, no connection, a server error.
    Broken(String),
}

/// Nothing, or what was expected and what happened.
fn judge(case: &Case, answer: Answer) -> Result<(), (String, String)> {
    let refusal = || format!("denied, with a message that holds {:?}", case.message);
    match (case.expect, answer) {
        (Expect::Allowed, Answer::Allowed) => Ok(()),
        (Expect::Denied, Answer::Denied(text)) if case.message.iter().all(|part| text.contains(part)) => Ok(()),
        (Expect::Allowed, Answer::Denied(text)) => Err(("allowed".to_owned(), format!("denied: {text}"))),
        (Expect::Denied, Answer::Allowed) => Err((refusal(), "allowed".to_owned())),
        (Expect::Denied, Answer::Denied(text)) => Err((refusal(), format!("denied: {text}"))),
        (expect, Answer::Broken(text)) => Err((format!("{expect:?}").to_lowercase(), format!("no verdict: {text}"))),
    }
}

struct Runner {
    client: Client,
    kinds: HashMap<GroupVersionKind, (ApiResource, Scope)>,
}

impl Runner {
    async fn request(&mut self, case: &Case) -> Answer {
        let (url, object) = match self.target(case).await {
            Ok(target) => target,
            Err(broken) => return Answer::Broken(broken),
        };
        let request = match build(case, &url, object) {
            Ok(request) => request,
            Err(error) => return Answer::Broken(format!("failed to build the request: {error}")),
        };
        match self.client.request::<Value>(request).await {
            Ok(_) => Answer::Allowed,
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 404 => {
                Answer::Denied(status.message)
            }
            Err(error) => Answer::Broken(format!("{error:?}")),
        }
    }

    /// The path to send the request to, and the object to send.
    async fn target(&mut self, case: &Case) -> Result<(String, Value), String> {
        let object: DynamicObject = serde_json::from_value(case.object.clone())
            .map_err(|error| format!("object is not a manifest: {error}"))?;
        let types = object.types.clone().ok_or("object lacks apiVersion or kind")?;
        let kind =
            GroupVersionKind::try_from(&types).map_err(|error| format!("object has a bad apiVersion: {error}"))?;
        let (resource, scope) = self.kind(&kind).await?;
        let namespace = match scope {
            Scope::Namespaced => Some(object.metadata.namespace.as_deref().unwrap_or("default")),
            Scope::Cluster => None,
        };
        let collection = <DynamicObject as kube::Resource>::url_path(&resource, namespace);
        if case.verb == Verb::Create {
            let subresource = case
                .subresource
                .as_ref()
                .map(|name| format!("/{}/{name}", object.metadata.name.clone().unwrap_or_default()));
            return Ok((collection + &subresource.unwrap_or_default(), case.object.clone()));
        }
        let name = object.metadata.name.as_deref().ok_or("object lacks metadata.name")?;
        let subresource = case
            .subresource
            .as_ref()
            .map(|name| format!("/{name}"))
            .unwrap_or_default();
        let mut body = case.object.clone();
        if case.verb == Verb::Update && object.metadata.resource_version.is_none() {
            body["metadata"]["resourceVersion"] = self.version(&format!("{collection}/{name}")).await?;
        }
        Ok((format!("{collection}/{name}{subresource}"), body))
    }

    async fn kind(&mut self, kind: &GroupVersionKind) -> Result<(ApiResource, Scope), String> {
        if let Some(known) = self.kinds.get(kind) {
            return Ok(known.clone());
        }
        let (resource, capabilities) = discovery::pinned_kind(&self.client, kind)
            .await
            .map_err(|error| format!("the API server does not serve {kind:?}: {error}"))?;
        let known = (resource, capabilities.scope);
        self.kinds.insert(kind.clone(), known.clone());
        Ok(known)
    }

    async fn version(&self, url: &str) -> Result<Value, String> {
        let request = Request::get(url).body(Vec::new()).map_err(|error| error.to_string())?;
        let live: Value = self
            .client
            .request(request)
            .await
            .map_err(|error| format!("failed to read the object to update: {error}"))?;
        Ok(live["metadata"]["resourceVersion"].clone())
    }
}

fn build(case: &Case, url: &str, object: Value) -> Result<Request<Vec<u8>>, String> {
    let (method, media, body) = match case.verb {
        Verb::Create => (Method::POST, "application/json", object),
        Verb::Update => (Method::PUT, "application/json", object),
        Verb::Apply => (Method::PATCH, "application/apply-patch+yaml", object),
        Verb::Patch => (
            Method::PATCH,
            "application/merge-patch+json",
            case.patch.clone().ok_or("verb patch needs a patch")?,
        ),
        Verb::Delete => (
            Method::DELETE,
            "application/json",
            json!({ "apiVersion": "v1", "kind": "DeleteOptions" }),
        ),
    };
    let mut query = vec!["fieldManager=cases"];
    if case.verb != Verb::Delete {
        query.push("fieldValidation=Strict");
    }
    if case.verb == Verb::Apply {
        query.push("force=true");
    }
    if !case.keep {
        query.push("dryRun=All");
    }
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{url}?{}", query.join("&")))
        .header(header::CONTENT_TYPE, media)
        .body(body)
        .map_err(|error| error.to_string())?;
    for (name, value) in impersonation(case)? {
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

fn impersonation(case: &Case) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let Some(user) = &case.user else {
        let alone = case.groups.is_empty() && case.extra.is_empty();
        return if alone {
            Ok(Vec::new())
        } else {
            Err("groups and extra need `as`".to_owned())
        };
    };
    let groups = case.groups.iter().map(|group| ("impersonate-group".to_owned(), group));
    // Keys may hold a slash, which a header name may not.
    let extra = case.extra.iter().flat_map(|(key, values)| {
        values
            .iter()
            .map(move |value| (format!("impersonate-extra-{}", key.replace('/', "%2f")), value))
    });
    std::iter::once(("impersonate-user".to_owned(), user))
        .chain(groups)
        .chain(extra)
        .map(|(name, value)| {
            let name = name.parse::<HeaderName>().map_err(|error| error.to_string())?;
            Ok((name, value.parse::<HeaderValue>().map_err(|error| error.to_string())?))
        })
        .collect()
}
