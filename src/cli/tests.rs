use clap::CommandFactory;

use super::*;
use tenantry_cli::args::{OutputFormat, ReportFormat};

fn run(flags: &[&str]) -> RunArgs {
    let typed = ["tenantry", "run"].iter().chain(flags).copied();
    match Cli::try_parse_from(typed).expect("flags should parse").command {
        Command::Run(args) => *args,
        other => panic!("expected run, got {other:?}"),
    }
}

fn validate(flags: &[&str]) -> Result<Settings, SettingsError> {
    let mut all = vec!["--lease-namespace", "ops"];
    all.extend(flags);
    run(&all).validate()
}

#[test]
fn clap_accepts_the_definition_of_the_command_line() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_of_run_has_an_environment_variable() {
    let command = Cli::command();
    let run = command.find_subcommand("run").expect("run exists");
    for arg in run
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_id() != "help")
    {
        let flag = arg.get_long().expect("every argument of run is a long flag");
        let wanted = format!("TENANTRY_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(
            arg.get_env().and_then(|env| env.to_str()),
            Some(wanted.as_str()),
            "--{flag}"
        );
    }
}

#[test]
fn the_defaults_match_the_documentation() {
    let settings = validate(&[]).expect("defaults are valid");
    let lease = settings.lease.expect("leader election is on");
    assert_eq!(
        (lease.name.as_str(), lease.namespace.as_str(), lease.identity.as_str()),
        ("tenantry", "ops", "tenantry")
    );
    assert_eq!(lease.election, ElectionConfig::default());
    assert_eq!(settings.concurrency, 32);
    assert_eq!(settings.listen.port(), 8080);
    assert_eq!(settings.request_timeout, Duration::from_secs(10));
    assert_eq!(settings.status_interval, Duration::from_secs(10));
    assert_eq!(settings.relist_interval, Duration::from_secs(3600));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(25));
    assert_eq!(settings.resources.accelerators, ["nvidia.com/gpu"]);
    assert_eq!(settings.resources.model, "inferenceservices.serving.kserve.io");
}

#[test]
fn identity_and_namespace_default_to_those_of_the_pod() {
    let settings = run(&["--pod-name", "op-7f", "--pod-namespace", "blue"])
        .validate()
        .expect("valid");
    let lease = settings.lease.expect("leader election is on");
    assert_eq!((lease.namespace.as_str(), lease.identity.as_str()), ("blue", "op-7f"));
}

#[test]
fn no_lease_namespace_is_needed_without_leader_election() {
    assert_eq!(run(&["--leader-elect", "false"]).validate().expect("valid").lease, None);
}

#[test]
fn leader_election_without_a_namespace_is_refused() {
    assert_eq!(run(&[]).validate(), Err(SettingsError::LeaseNamespace));
}

#[test]
fn a_renew_deadline_as_long_as_the_lease_is_refused() {
    let error = validate(&["--renew-deadline", "15s"]).expect_err("equal is too long");
    assert!(matches!(error, SettingsError::Election(_)));
    assert!(error.to_string().contains("--renew-deadline"), "{error}");
}

#[test]
fn zero_and_absurd_concurrency_are_refused() {
    assert_eq!(validate(&["--concurrency", "0"]), Err(SettingsError::Concurrency(0)));
    assert_eq!(
        validate(&["--concurrency", "257"]),
        Err(SettingsError::Concurrency(257))
    );
}

#[test]
fn durations_out_of_range_name_the_flag() {
    for flag in ["--request-timeout", "--status-interval", "--shutdown-grace"] {
        let error = validate(&[flag, "10ms"]).expect_err("too short");
        assert!(error.to_string().starts_with(flag), "{error}");
    }
}

#[test]
fn a_relist_interval_of_seconds_is_refused() {
    let error = validate(&["--relist-interval", "1s"]).expect_err("too short");
    assert_eq!(
        error.to_string(),
        "--relist-interval must be between 60s and 86400s, got 1s"
    );
    let shortest = validate(&["--relist-interval", "1m"]).expect("valid");
    assert_eq!(shortest.relist_interval, Duration::from_secs(60));
}

#[test]
fn malformed_names_are_refused_with_an_example() {
    for flags in [
        ["--accelerator-resource", "gpu"],
        ["--accelerator-resource", "nvidia.com/"],
        ["--model-resource", "pods"],
    ] {
        let error = validate(&flags).expect_err("malformed");
        assert!(matches!(error, SettingsError::Resources(_)), "{error}");
        assert!(error.to_string().contains("such as"), "{error}");
    }
    assert!(matches!(
        validate(&["--lease-name", "Tenantry"]),
        Err(SettingsError::Name { .. })
    ));
}

#[test]
fn an_accelerator_that_is_named_twice_is_refused() {
    let two = validate(&["--accelerator-resource", "nvidia.com/gpu,amd.com/gpu"]).expect("valid");
    assert_eq!(two.resources.accelerators, ["nvidia.com/gpu", "amd.com/gpu"]);
    let twice = validate(&[
        "--accelerator-resource",
        "amd.com/gpu",
        "--accelerator-resource",
        "amd.com/gpu",
    ]);
    assert_eq!(
        twice,
        Err(SettingsError::Resources(ResourceNamesError::DuplicateAccelerator(
            "amd.com/gpu".to_owned()
        )))
    );
}

#[test]
#[cfg(not(feature = "otlp"))]
fn a_build_without_traces_refuses_an_otlp_endpoint() {
    assert_eq!(
        validate(&["--otlp-endpoint", "http://collector:4317"]),
        Err(SettingsError::OtlpNotBuilt)
    );
}

#[test]
#[cfg(feature = "otlp")]
fn an_otlp_endpoint_must_be_a_url() {
    assert!(validate(&["--otlp-endpoint", "http://collector:4317"]).is_ok());
    assert!(matches!(
        validate(&["--otlp-endpoint", "collector:4317"]),
        Err(SettingsError::OtlpEndpoint(_))
    ));
}

#[test]
fn a_duration_needs_a_unit_and_cannot_be_negative() {
    assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
    assert!(parse_duration("15").is_err());
    assert!(parse_duration("-15s").is_err());
}

#[test]
fn render_reads_several_files_and_standard_input() {
    let cli = Cli::try_parse_from([
        "tenantry", "render", "-f", "a.yaml", "-f", "-", "-o", "json", "--served", "x.y,z.w",
    ]);
    match cli.expect("parses").command {
        Command::Render(args) => {
            assert_eq!(args.files, [PathBuf::from("a.yaml"), PathBuf::from("-")]);
            assert_eq!(args.output, OutputFormat::Json);
            assert_eq!(args.served, ["x.y", "z.w"]);
        }
        other => panic!("expected render, got {other:?}"),
    }
    assert!(
        Cli::try_parse_from(["tenantry", "render"]).is_err(),
        "a file is required"
    );
}

#[test]
fn adopt_only_reports_without_the_flag_yes() {
    let parse = |flags: &[&str]| Cli::try_parse_from([&["tenantry", "adopt", "acme-web"], flags].concat());
    match parse(&["--tenant", "acme"]).expect("parses").command {
        Command::Adopt(args) => {
            assert_eq!((&*args.namespace, &*args.tenant), ("acme-web", "acme"));
            assert!(!args.yes && !args.force);
            assert_eq!(args.output, ReportFormat::Text);
        }
        other => panic!("expected adopt, got {other:?}"),
    }
    assert!(parse(&[]).is_err(), "a tenant is required");
    assert!(
        parse(&["--tenant", "acme", "--force"]).is_err(),
        "--force alone does nothing"
    );
}
