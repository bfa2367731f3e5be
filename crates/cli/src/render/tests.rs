use super::*;
use tenantry_core::fixture;

const TEMPLATE: &str = "
apiVersion: tenantry.dev/v1alpha1
kind: TenantTemplate
metadata: { name: small }
spec: { tier: Free, quotas: { pods: 4, namespaces: 1 } }
";
const TENANT: &str = "
apiVersion: tenantry.dev/v1alpha1
kind: Tenant
metadata: { name: acme }
spec:
  templateRef: { name: small }
  owners: [{ kind: User, name: ann }]
  namespaces: [{ name: dev }]
";

fn rendered(texts: &[&str]) -> Result<Vec<Value>, Error> {
    let file = |(index, text): (usize, &&str)| (format!("{index}.yaml"), (*text).to_owned());
    let files: Vec<_> = texts.iter().enumerate().map(file).collect();
    render(&files, &Served::default(), &fixture::settings())
}

fn refused(texts: &[&str]) -> String {
    rendered(texts).unwrap_err().to_string()
}

#[test]
fn the_number_and_order_of_files_do_not_matter() {
    let apart = rendered(&[TENANT, TEMPLATE]).unwrap();
    let together = rendered(&[&format!("---\n{TEMPLATE}\n---\n# an empty document\n---\n{TENANT}")]).unwrap();
    assert_eq!(apart, together);
    assert_eq!(apart[0]["kind"], "Namespace");
    assert_eq!(apart.last().unwrap()["kind"], "RoleBinding");
}

#[test]
fn invalid_yaml_is_reported_with_its_file() {
    let error = refused(&[TEMPLATE, "a: [b"]);
    assert!(error.starts_with("1.yaml: not YAML: "), "{error}");
}

#[test]
fn a_document_of_another_kind_is_reported_with_its_kind() {
    assert_eq!(
        refused(&["apiVersion: v1\nkind: Secret"]),
        "0.yaml: v1 Secret is neither a TenantTemplate nor a Tenant of tenantry.dev/v1alpha1"
    );
    let newer = TENANT.replace("v1alpha1", "v9");
    assert!(refused(&[&newer]).contains("tenantry.dev/v9 Tenant is neither"));
    assert!(refused(&["just text"]).contains("is neither"));
}

#[test]
fn an_invalid_value_is_reported_with_its_document() {
    let error = refused(&[&TEMPLATE.replace("Free", "Gold"), TENANT]);
    assert!(
        error.starts_with("0.yaml: TenantTemplate small: unknown variant `Gold`, expected one of `Free`"),
        "{error}"
    );
    let error = refused(&[TEMPLATE, &TENANT.replace("kind: User", "kind: Person")]);
    assert!(
        error.starts_with("1.yaml: Tenant acme: unknown variant `Person`"),
        "{error}"
    );
}

#[test]
fn without_a_tenant_there_is_nothing_to_render() {
    for texts in [&[TEMPLATE][..], &[""], &[]] {
        assert!(refused(texts).starts_with("no Tenant in the given files; name at least one"));
    }
}

#[test]
fn an_invalid_tenant_is_reported_as_the_operator_reports_it() {
    assert_eq!(
        refused(&[TENANT]),
        "Tenant acme: TemplateNotFound: spec.templateRef.name: TenantTemplate \"small\" does not exist; create it, or \
         choose one of kubectl get tenanttemplates"
    );
    let many = TENANT.replace("{ name: dev }", "{ name: dev }, { name: prod }");
    assert!(refused(&[TEMPLATE, &many]).starts_with("Tenant acme: TooManyNamespaces: spec.namespaces: 2 "));
}

#[test]
fn an_optional_kind_may_be_given_as_kind_or_crd() {
    let names = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        served(&names, &fixture::settings())
    };
    let expected = Served {
        kinds: [Kind::PodMonitor, Kind::PrometheusRule].into(),
        models: true,
    };
    assert_eq!(
        names(&[
            "podmonitor",
            "prometheusrules.monitoring.coreos.com",
            "inferenceservices.serving.kserve.io"
        ]),
        Ok(expected)
    );
    assert_eq!(names(&["Namespace"]), Err("Namespace".to_owned()));
    assert_eq!(names(&["podmonitors"]), Err("podmonitors".to_owned()));
}

#[test]
fn optional_objects_are_printed_only_where_they_are_served() {
    let asked = TEMPLATE.replace("quotas:", "monitoring: { alerts: true }, quotas:");
    let kinds = |served: &Served| {
        let files = [("t".to_owned(), asked.clone()), ("n".to_owned(), TENANT.to_owned())];
        let manifests = render(&files, served, &fixture::settings()).unwrap();
        manifests
            .iter()
            .filter(|manifest| manifest["kind"] == "PrometheusRule")
            .count()
    };
    assert_eq!(kinds(&Served::default()), 0);
    assert_eq!(kinds(&fixture::everything_served()), 1);
}

#[test]
fn unknown_fields_and_negative_amounts_are_refused_offline() {
    let template = r#"{"apiVersion":"tenantry.dev/v1alpha1","kind":"TenantTemplate","metadata":{"name":"t"},"spec":{"tier":"Free"}}"#;
    let tenant = |spec: &str| {
        format!(
            r#"{{"apiVersion":"tenantry.dev/v1alpha1","kind":"Tenant","metadata":{{"name":"acme"}},"spec":{{"templateRef":{{"name":"t"}},{spec}}}}}"#
        )
    };
    let refusal = |spec: &str| {
        let files = [
            ("t".to_owned(), template.to_owned()),
            ("a.yaml".to_owned(), tenant(spec)),
        ];
        let settings = fixture::settings();
        render(&files, &Served::default(), &settings).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(r#""owner":"alice""#),
        "a.yaml: Tenant acme: there is no field spec.owner; docs/api.md lists them"
    );
    assert_eq!(
        refusal(r#""overrides":{"quotas":{"cpu":"-1"}}"#),
        "a.yaml: Tenant acme: spec.overrides.quotas.cpu is below 0; 0 forbids the use, leaving the field out sets no limit"
    );
}
