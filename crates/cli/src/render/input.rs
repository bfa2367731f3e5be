//! Reads the files of `-f` as kubectl does.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::Error;

/// Extensions of the files that kubectl reads in a folder.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Names and texts of the files. A folder means the manifests directly in it, in order of name; `-` means standard
/// input.
pub fn read(files: &[PathBuf]) -> Result<Vec<(String, String)>, Error> {
    let mut texts = Vec::new();
    for file in files {
        if file.as_os_str() != "-" && file.is_dir() {
            for file in manifests(file).map_err(|source| unreadable(file, source))? {
                texts.push(text(&file)?);
            }
        } else {
            texts.push(text(file)?);
        }
    }
    Ok(texts)
}

fn manifests(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
    let is_manifest = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && !path.is_dir()
    };
    let mut files: Vec<_> = entries?
        .iter()
        .map(std::fs::DirEntry::path)
        .filter(is_manifest)
        .collect();
    if files.is_empty() {
        return Err(io::Error::other("there is no .yaml, .yml or .json file in this folder"));
    }
    files.sort();
    Ok(files)
}

fn text(file: &Path) -> Result<(String, String), Error> {
    let name = file.display().to_string();
    let text = if name == "-" {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    Ok((name, text.map_err(|source| unreadable(file, source))?))
}

fn unreadable(file: &Path, source: io::Error) -> Error {
    let file = file.display().to_string();
    Error::Unreadable { file, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
    }

    #[test]
    fn a_folder_means_its_own_manifests_in_order() {
        let texts = read(&[at("deploy/templates/free.yaml"), at("examples")]).unwrap();
        let names: Vec<_> = texts.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "free.yaml",
                "enterprise.yaml",
                "first-tenant.yaml",
                "multi-namespace.yaml"
            ]
        );
        assert!(texts.iter().all(|(_, text)| text.contains("tenantry.dev/v1alpha1")));
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let failed = |path: &str| match read(&[at(path)]) {
            Err(Error::Unreadable { file, source }) => (file, source),
            other => panic!("{other:?}"),
        };
        assert!(failed("no-such.yaml").0.ends_with("no-such.yaml"));
        let (name, error) = failed("src/tenant");
        assert!(name.ends_with("src/tenant"));
        assert!(error.to_string().contains("no .yaml"), "{error}");
    }
}
