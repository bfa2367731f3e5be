//! Kept results as Markdown, between two marks.

use std::path::Path;

use serde_json::Value;

use super::report::amount;

pub const BEGIN: &str = "<!-- begin of what `make bench-docs` wrote -->";
pub const END: &str = "<!-- end of what `make bench-docs` wrote -->";

/// What the table of several sizes shows, with its heading.
const COLUMNS: [(&str, &str); 11] = [
    ("ready_over_whole", "time to Ready / raw"),
    ("fan_out_over_whole", "template change / raw"),
    ("api_server_cpu_ms", "API server CPU per tenant"),
    ("raw_api_server_cpu_ms", "of the raw limit"),
    ("operator_cpu_ms", "operator CPU per tenant"),
    ("kilobytes_per_tenant", "memory per tenant"),
    ("resident_mb", "resident"),
    ("single_p50_ms", "one Tenant p50"),
    ("own_config_map_p50_ratio", "own ConfigMap, in / out"),
    ("own_pod_p50_ratio", "own Pod, in / out"),
    ("own_scale_p50_ratio", "own scale, in / out"),
];

/// What is plotted of several sizes, one line each: name, title, unit of the axis.
const PLOTS: [(&str, &str, &str); 4] = [
    ("ready_over_whole", "Time to Ready over the raw limit", "ratio"),
    (
        "single_p50_ms",
        "One Tenant, create to Ready, with so many others",
        "ms",
    ),
    ("kilobytes_per_tenant", "The operator's memory per tenant", "kB"),
    (
        "own_config_map_p50_ratio",
        "A tenant's own ConfigMap, in a tenant over outside",
        "ratio",
    ),
];

/// Every result under `folder`, by name of its file.
pub fn kept(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

/// Replaces the text between the page's marks.
pub fn page(text: &str, results: &[Value]) -> String {
    let (before, rest) = text
        .split_once(BEGIN)
        .unwrap_or_else(|| panic!("docs/benchmarks.md needs the line {BEGIN}"));
    let (_, after) = rest
        .split_once(END)
        .unwrap_or_else(|| panic!("docs/benchmarks.md needs the line {END}"));
    let sections: String = results.iter().map(section).collect();
    let made = if sections.is_empty() {
        "\nNo results are kept yet.\n".to_owned()
    } else {
        sections
    };
    format!("{before}{BEGIN}\n{made}\n{END}{after}")
}

/// One file of results.
pub fn section(results: &Value) -> String {
    let sizes: &[Value] = results["sizes"].as_array().map_or(&[], Vec::as_slice);
    let namespaces = match results["namespaces"].as_u64() {
        Some(1) | None => "one namespace".to_owned(),
        Some(count) => format!("{count} namespaces"),
    };
    match sizes {
        [] => String::new(),
        [size] => {
            let tenants = size["tenants"].as_u64().unwrap_or_default();
            let what = if tenants == 0 {
                "The exact totals".to_owned()
            } else {
                format!("{tenants} tenants with {namespaces} each")
            };
            format!("\n### {what}, {}\n{}{}", runs(size), about(results), table(size))
        }
        several => {
            let mut text = format!(
                "\n### Growth: {namespaces} each, {}\n{}{}",
                runs(&several[0]),
                about(results),
                rows(several)
            );
            for (name, title, axis) in PLOTS {
                text += &plot(several, name, title, axis);
            }
            text
        }
    }
}

fn runs(size: &Value) -> String {
    match size["runs"].as_u64() {
        Some(1) => "one run".to_owned(),
        runs => format!("{} runs", runs.unwrap_or_default()),
    }
}

fn about(results: &Value) -> String {
    let text = |name: &str| results[name].as_str().unwrap_or("unknown");
    format!(
        "\n{} cores, {}, Kubernetes {}, commit {}, {}; the load before was {}. Median (lowest - highest).\n\n",
        results["machine"]["cores"],
        results["machine"]["system"].as_str().unwrap_or("unknown"),
        text("kubernetes"),
        text("commit"),
        text("date"),
        results["machine"]["load_before"]
            .as_f64()
            .map_or("unknown".to_owned(), |load| load.to_string()),
    )
}

fn figures(size: &Value) -> &[Value] {
    size["figures"].as_array().map_or(&[], Vec::as_slice)
}

fn named<'a>(size: &'a Value, name: &str) -> Option<&'a Value> {
    figures(size).iter().find(|figure| figure["name"] == name)
}

fn value(figure: &Value) -> String {
    let unit = figure["unit"].as_str().unwrap_or_default();
    let of = |name: &str| {
        figure[name]
            .as_f64()
            .map(|value| amount(value, unit))
            .unwrap_or_default()
    };
    if figure["values"].is_array() {
        format!("{} ({} - {})", of("median"), of("min"), of("max"))
    } else {
        of("median")
    }
}

fn table(size: &Value) -> String {
    let mut text = "| what | measured | target |\n| --- | --- | --- |\n".to_owned();
    for figure in figures(size) {
        let unit = figure["unit"].as_str().unwrap_or_default();
        let is = |name: &str| figure[name].as_f64();
        let target = match (is("at_most"), is("at_least"), is("least_possible")) {
            (Some(most), _, _) => format!("<= {}", amount(most, unit)),
            (_, Some(least), _) => format!(">= {}", amount(least, unit)),
            (_, _, Some(least)) => format!("least possible {least}"),
            _ => String::new(),
        };
        let what = figure["what"].as_str().unwrap_or_default();
        text += &format!("| {what} | {} | {target} |\n", value(figure));
    }
    for (what, note) in size["notes"].as_object().into_iter().flatten() {
        text += &format!("| {what} | {} | |\n", note.as_str().unwrap_or_default());
    }
    text
}

/// A row for each size, with the columns that were measured.
fn rows(sizes: &[Value]) -> String {
    let columns: Vec<_> = COLUMNS
        .into_iter()
        .filter(|(name, _)| sizes.iter().any(|size| named(size, name).is_some()))
        .collect();
    let headings: Vec<_> = columns.iter().map(|(_, heading)| *heading).collect();
    let mut text = format!(
        "| tenants | {} |\n| ---{} |\n",
        headings.join(" | "),
        " | ---".repeat(columns.len())
    );
    for size in sizes {
        let cells: Vec<_> = columns
            .iter()
            .map(|(name, _)| named(size, name).map(value).unwrap_or_default())
            .collect();
        text += &format!("| {} | {} |\n", size["tenants"], cells.join(" | "));
    }
    text
}

/// A chart that GitHub draws by itself; nothing if a size lacks the figure.
fn plot(sizes: &[Value], name: &str, title: &str, axis: &str) -> String {
    let values: Option<Vec<f64>> = sizes.iter().map(|size| named(size, name)?["median"].as_f64()).collect();
    let Some(values) = values else {
        return String::new();
    };
    let tenants: Vec<_> = sizes.iter().map(|size| size["tenants"].to_string()).collect();
    let points: Vec<_> = values.iter().map(ToString::to_string).collect();
    // From zero: a line that starts at its lowest point makes every change look large.
    let top = values.iter().copied().fold(0.0, f64::max) * 1.25;
    format!(
        "\n```mermaid\nxychart-beta\n    title \"{title}\"\n    x-axis \"tenants\" [{}]\n    y-axis \"{axis}\" 0 --> {top:.2}\n    line [{}]\n```\n",
        tenants.join(", "),
        points.join(", ")
    )
}
