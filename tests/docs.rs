//! What the documentation names is there: files, make targets, reasons of conditions. Needs no cluster.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use tenantry_api::Reason;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Every Markdown file of the tree, but not what git ignores.
fn pages() -> Vec<PathBuf> {
    fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != ".git" && name != "shared" {
                    collect(&path, pages);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    let mut pages = Vec::new();
    collect(root(), &mut pages);
    pages
}

/// Lines outside of code, where links and headings are.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// The anchors of a page, by GitHub's rule: lower case, no punctuation, a hyphen for each space, `-1` for a second one.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(page) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            let slug: String = title
                .trim()
                .to_lowercase()
                .chars()
                .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect();
            let numbered = (1..).map(|number| format!("{slug}-{number}"));
            let free = std::iter::once(slug.clone())
                .chain(numbered)
                .find(|slug| !anchors.contains(slug));
            anchors.extend(free);
        }
        // An anchor that the page sets itself.
        let set = ["id=\"", "name=\""].map(|mark| line.split(mark).skip(1));
        anchors.extend(
            set.into_iter()
                .flatten()
                .filter_map(|rest| rest.split('"').next())
                .map(str::to_owned),
        );
    }
    anchors
}

/// Why a relative link of `page` leads nowhere.
fn broken_link(page: &Path, text: &str, target: &str) -> Option<String> {
    let target = target.split(' ').next().unwrap_or_default();
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = page.parent().unwrap().join(file);
    if !file.is_empty() && !path.exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let there = match file {
        "" => text.to_owned(),
        _ => std::fs::read_to_string(path).unwrap(),
    };
    (!anchors(&there).contains(anchor)).then(|| format!("there is no heading with the anchor {anchor}"))
}

#[test]
fn operations_page_lists_every_reason_of_a_condition() {
    let page = read("docs/operations.md");
    let missing: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !page.contains(&format!("\n| {reason} |")))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md has no line for {missing:?}");
}

#[test]
fn every_relative_link_leads_to_a_file_and_heading() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for line in prose(&text) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                checked += 1;
                let why = broken_link(&page, &text, target);
                broken.extend(why.map(|why| format!("{}: {target}: {why}", page.display())));
            }
        }
    }
    assert!(checked > 50, "only {checked} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A heading as GitHub writes it in a link.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || ['-', '_', ' '].contains(letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

#[test]
fn every_link_to_a_heading_leads_to_one() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, wanted)) = target.split_once('#').filter(|(file, _)| !file.contains("://")) else {
                continue;
            };
            let to = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            let there = std::fs::read_to_string(&to).unwrap_or_default();
            let headings = there.lines().filter(|line| line.starts_with('#'));
            seen += 1;
            if !headings
                .map(|line| anchor(line.trim_start_matches('#').trim()))
                .any(|heading| heading == wanted)
            {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(seen > 4, "only {seen} links to headings were found");
}

/// Numbers such as `I11` or `F3` in prose.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| {
            let digits = word.strip_prefix(['I', 'F']);
            digits.is_some_and(|digits| {
                (1..3).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
            })
        })
}

#[test]
fn every_invariant_and_fault_that_a_page_cites_is_defined() {
    let definitions = read("docs/reliability.md");
    let missing: Vec<_> = pages()
        .iter()
        .flat_map(|page| {
            let text = std::fs::read_to_string(page).unwrap();
            let found: BTreeSet<_> = numbers(&text)
                .filter(|number| !definitions.contains(&format!("\n| {number} |")))
                .map(|number| format!("{}: {number}", page.display()))
                .collect();
            found
        })
        .collect();
    assert!(numbers(&definitions).count() > 38);
    assert!(missing.is_empty(), "docs/reliability.md does not define {missing:?}");
}

#[test]
fn a_link_to_a_missing_file_or_heading_is_broken() {
    let page = root().join("docs/page.md");
    let text = "# A title, twice!\n```sh\n# no heading\n```\n## A title, twice!\n<a id=\"own\"></a>\n";
    for good in [
        "#a-title-twice",
        "#a-title-twice-1",
        "#own",
        "api.md",
        "../README.md#install",
        "https://example.com/#x",
    ] {
        assert_eq!(broken_link(&page, text, good), None);
    }
    for bad in ["#no-heading", "#a-title-twice-2", "missing.md", "../README.md#missing"] {
        assert!(broken_link(&page, text, bad).is_some(), "{bad}");
    }
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = read("Makefile");
    let exists = |target: &str| makefile.contains(&format!("\n{target}:"));
    let mut missing = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        // In code only: "make sure" is English.
        let commands = ["`make ", "\nmake "].map(|mark| text.split(mark).skip(1));
        for command in commands.into_iter().flatten() {
            let target: String = command
                .chars()
                .take_while(|letter| letter.is_ascii_lowercase() || *letter == '-')
                .collect();
            if !exists(&target) {
                missing.push(format!("{}: make {target}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_decision_is_in_the_list() {
    let list = read("docs/decisions/README.md");
    for entry in std::fs::read_dir(root().join("docs/decisions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || list.contains(&format!("({name})")),
            "{name} is not in docs/decisions/README.md"
        );
    }
}

#[test]
fn the_image_build_gets_every_workspace_member() {
    let sent = read(".dockerignore");
    let manifest = read("Cargo.toml");
    let members = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(members, _)| members.to_owned())
        .unwrap();
    let tops: Vec<_> = members.split('"').filter_map(|part| part.split('/').next()).collect();
    assert!(tops.contains(&"crates") && tops.contains(&"xtask"), "{tops:?}");
    let tops = tops.into_iter().filter(|top| !top.trim_matches([',', ' ']).is_empty());
    for top in tops.chain(["Cargo.toml", "Cargo.lock", "LICENSE", "src", "benches"]) {
        assert!(sent.contains(&format!("\n!{top}\n")), ".dockerignore keeps {top} back");
    }
}
