//! The README of the Helm chart: a text with a table of all values.
//!
//! The documentation of a value is the comment right above its key; its first line starts with `# --`.

use std::fmt::Write;

use serde_json::Value;

/// Line of the text that the table replaces.
const PLACE: &str = "<!-- values -->";

/// The README could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `values.yaml` is not YAML.
    #[error("failed to parse values.yaml: {0}")]
    Values(#[from] serde_saphyr::Error),
    /// A comment is not above a value.
    #[error("failed to read values.yaml: the comment above line {line} documents no value; put it right above a key")]
    Dangling {
        /// Line after the comment, from 1.
        line: usize,
    },
    /// A value has no comment.
    #[error("failed to read values.yaml: {path} has no comment; write \"# -- what it does\" above it")]
    Undocumented {
        /// The value's path.
        path: String,
    },
    /// The text has no place for the table.
    #[error("failed to generate the README: its text lacks the line {PLACE}")]
    NoPlace,
}

/// One documented value.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    path: String,
    default: String,
    text: String,
}

/// `text` with [`PLACE`] replaced by the table of `values` (the text of values.yaml).
pub fn render(text: &str, values: &str) -> Result<String, Error> {
    let (before, after) = text.split_once(PLACE).ok_or(Error::NoPlace)?;
    let mut table = String::from("| Value | Default | What it does |\n| --- | --- | --- |");
    for Row { path, default, text } in rows(values)? {
        // Writing into a String cannot fail.
        let _ = write!(table, "\n| `{path}` | `{default}` | {} |", text.replace('|', "\\|"));
    }
    Ok(format!("{before}{table}{after}"))
}

fn rows(text: &str) -> Result<Vec<Row>, Error> {
    let values: Value = serde_saphyr::from_str(text)?;
    let mut rows = Vec::new();
    let mut comment: Option<String> = None;
    // Keys that lead to the current line, each with its indentation.
    let mut parents: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(start) = trimmed.strip_prefix("# -- ") {
            comment = Some(start.to_owned());
            continue;
        }
        if let Some(more) = trimmed.strip_prefix("# ") {
            if let Some(comment) = comment.as_mut() {
                comment.push(' ');
                comment.push_str(more);
            }
            continue;
        }
        let Some((key, _)) = trimmed.split_once(':').filter(|(key, _)| is_key(key)) else {
            if comment.is_some() {
                return Err(Error::Dangling { line: index + 1 });
            }
            continue;
        };
        parents.retain(|(depth, _)| *depth < indent);
        parents.push((indent, key.to_owned()));
        let keys: Vec<&str> = parents.iter().map(|(_, key)| key.as_str()).collect();
        if let Some(text) = comment.take() {
            let default = keys.iter().try_fold(&values, |value, key| value.get(key));
            let default = default.map(Value::to_string).unwrap_or_default();
            rows.push(Row {
                path: keys.join("."),
                default,
                text,
            });
        }
    }
    match undocumented(&values, "", &rows) {
        Some(path) => Err(Error::Undocumented { path }),
        None => Ok(rows),
    }
}

fn is_key(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// The first value without documentation: neither it nor a parent has a row, and not all of its children have one.
fn undocumented(value: &Value, path: &str, rows: &[Row]) -> Option<String> {
    if rows.iter().any(|row| row.path == path) {
        return None;
    }
    match value.as_object() {
        Some(fields) if !fields.is_empty() => fields.iter().find_map(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            undocumented(value, &path, rows)
        }),
        _ => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    const VALUES: &str = "# Head.\nimage:\n  # -- Its name.\n  name: a\n  # -- Its tag,\n  # or none.\n  tag: \"\"\n# -- All of them.\nlabels:\n  a: b\n";

    #[test]
    fn every_documented_value_has_a_row_with_its_default() {
        let readme = render("x\n<!-- values -->\ny\n", VALUES).unwrap();
        assert_eq!(
            readme,
            "x\n| Value | Default | What it does |\n| --- | --- | --- |\n| `image.name` | `\"a\"` | Its name. |\n\
             | `image.tag` | `\"\"` | Its tag, or none. |\n| `labels` | `{\"a\":\"b\"}` | All of them. |\ny\n"
        );
    }

    #[test]
    fn a_value_without_a_comment_is_refused_with_its_path() {
        let error = render(PLACE, "a:\n  # -- x\n  b: 1\n  c: 2\n").unwrap_err();
        assert!(matches!(error, Error::Undocumented { path } if path == "a.c"));
    }

    #[test]
    fn a_comment_without_a_key_is_refused_with_its_line() {
        let error = render(PLACE, "# -- x\n\na: 1\n").unwrap_err();
        assert!(matches!(error, Error::Dangling { line: 2 }));
    }

    #[test]
    fn a_text_without_the_table_marker_is_refused() {
        assert!(matches!(render("x", VALUES), Err(Error::NoPlace)));
    }
}
