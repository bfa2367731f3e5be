//! The commands that run without the operator, as library functions.

use std::{collections::BTreeSet, io, time::Duration};

use anyhow::{Context as _, bail};

use crate::{
    adopt::HandOver,
    args::{AdoptArgs, OutputFormat, RenderArgs, ReportFormat, ResourceArgs},
    render,
};
use tenantry_core::settings::Settings;

/// Exit code of `adopt` when something would be refused.
const REFUSED: u8 = 3;

/// Settings of a command that writes no status.
fn offline_settings(resources: ResourceArgs) -> anyhow::Result<Settings> {
    let resources = resources.validate()?;
    Ok(Settings {
        accelerator_resources: resources.accelerators,
        model_resource: resources.model,
        // Only a status depends on the installed policies.
        admission: BTreeSet::new(),
        status_interval: Duration::ZERO,
    })
}

/// `tenantry adopt`: writes the report to `out` and returns the exit code.
pub fn adopt(args: AdoptArgs, out: &mut impl io::Write) -> anyhow::Result<u8> {
    let cluster = args.cluster();
    let AdoptArgs {
        namespace,
        tenant,
        yes,
        force,
        output,
        resources,
        ..
    } = args;
    let hand_over = match (yes, force) {
        (false, _) => HandOver::No,
        (true, false) => HandOver::IfNothingIsRefused,
        (true, true) => HandOver::Always,
    };
    let settings = offline_settings(resources)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let report = runtime.block_on(crate::adopt::adopt(&cluster, &namespace, &tenant, hand_over, &settings))?;
    match output {
        ReportFormat::Text => write!(out, "{report}")?,
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(match report.refused() {
        0 => 0,
        _ if report.handed_over => 0,
        _ => REFUSED,
    })
}

/// `tenantry render`: writes the objects to `out`.
pub fn render(args: RenderArgs, out: &mut impl io::Write) -> anyhow::Result<()> {
    let RenderArgs {
        files,
        output,
        served,
        resources,
    } = args;
    let texts = render::input::read(&files)?;
    let settings = offline_settings(resources)?;
    let served = match render::served(&served, &settings) {
        Ok(served) => served,
        Err(name) => {
            bail!(
                "--served: {name:?} is not an optional kind; choose from podmonitors.monitoring.coreos.com, servicemonitors.monitoring.coreos.com, prometheusrules.monitoring.coreos.com, {}",
                settings.model_resource
            )
        }
    };
    let manifests = render::render(&texts, &served, &settings)?;
    let text = match output {
        OutputFormat::Yaml => {
            let documents = manifests
                .iter()
                .map(|manifest| Ok(format!("---\n{}", serde_saphyr::to_string(manifest)?)));
            documents.collect::<anyhow::Result<String>>()?
        }
        OutputFormat::Json => format!("{:#}\n", render::list(manifests)),
    };
    match out.write_all(text.as_bytes()) {
        // The reader, such as `head`, has closed the pipe and needs no more output.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
