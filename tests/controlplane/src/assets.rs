//! Where the programs are: given, cached, or built now.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::go;
use crate::tool::{CHARTS, HELM, KUBERNETES, Module, Tool};

/// Finds programs; builds those that nobody has yet.
#[derive(Clone, Debug)]
pub struct Assets {
    given: Option<PathBuf>,
    cache: PathBuf,
}

impl Assets {
    /// As the environment says: `KUBEBUILDER_ASSETS`, then [`cache_dir`].
    pub fn from_env() -> Self {
        let given = env::var_os("KUBEBUILDER_ASSETS").filter(|v| !v.is_empty());
        // Components run in a folder of their own, where a relative path would mean another place.
        let given = given.map(|dir| std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir)));
        Self {
            given,
            cache: cache_dir(),
        }
    }

    /// The path of a program; builds it first where it is neither given nor cached.
    pub fn path(&self, tool: Tool) -> Result<PathBuf, Error> {
        if let Some(path) = self.given_path(tool) {
            return Ok(path);
        }
        go::build_missing(&[tool], &self.cache)?;
        Ok(self.cache.join(tool.name()))
    }

    /// Builds those of these programs that are neither given nor cached, with one progress count over all.
    pub fn ensure(&self, tools: &[Tool]) -> Result<(), Error> {
        let ours: Vec<Tool> = tools
            .iter()
            .copied()
            .filter(|t| self.given_path(*t).is_none())
            .collect();
        go::build_missing(&ours, &self.cache)
    }

    /// Folders that hold the programs, in search order: what to put in front of `PATH`.
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.given.iter().chain([&self.cache]).cloned().collect()
    }

    /// `PATH` of this process with [`Assets::dirs`] in front.
    pub fn search_path(&self) -> OsString {
        let old = env::var_os("PATH").unwrap_or_default();
        let dirs = self.dirs().into_iter().chain(env::split_paths(&old));
        // Only fails where a folder's name holds a colon: such a folder could not be in PATH anyway.
        env::join_paths(dirs).unwrap_or(old)
    }

    fn given_path(&self, tool: Tool) -> Option<PathBuf> {
        self.given
            .as_ref()
            .map(|dir| dir.join(tool.name()))
            .filter(|path| path.is_file())
    }
}

/// `${XDG_CACHE_HOME:-$HOME/.cache}/tenantry/controlplane-<hash of the pinned modules>`.
pub fn cache_dir() -> PathBuf {
    let base = cache_base(env::var_os("XDG_CACHE_HOME").as_deref(), env::var_os("HOME").as_deref());
    base.join("tenantry").join(format!(
        "controlplane-{:016x}",
        fingerprint(&[&KUBERNETES, &HELM, &CHARTS])
    ))
}

/// A relative XDG_CACHE_HOME is to be ignored, says its specification.
fn cache_base(xdg: Option<&OsStr>, home: Option<&OsStr>) -> PathBuf {
    let absolute = |value: Option<&OsStr>| value.map(Path::new).filter(|p| p.is_absolute()).map(Path::to_path_buf);
    absolute(xdg)
        .or_else(|| absolute(home).map(|h| h.join(".cache")))
        .unwrap_or_else(env::temp_dir)
}

/// FNV-1a: the same in every release of Rust, which the hasher of `std` does not promise.
fn fingerprint(modules: &[&Module]) -> u64 {
    let texts = modules.iter().flat_map(|m| [m.go_mod, m.go_sum]);
    texts
        .flat_map(|t| t.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Scratch, new_dir};
    use std::fs;

    #[test]
    fn xdg_wins_over_home_and_a_relative_one_is_ignored() {
        let (xdg, home) = (Some(OsStr::new("/x")), Some(OsStr::new("/h")));
        assert_eq!(cache_base(xdg, home), Path::new("/x"));
        assert_eq!(cache_base(None, home), Path::new("/h/.cache"));
        assert_eq!(cache_base(Some(OsStr::new("rel")), home), Path::new("/h/.cache"));
        assert_eq!(cache_base(None, None), env::temp_dir());
    }

    #[test]
    fn given_program_wins_over_a_cached_one() {
        let dir = Scratch(new_dir(&env::temp_dir(), "tenantry-assets-").unwrap());
        let (given, cache) = (dir.0.join("given"), dir.0.join("cache"));
        for (folder, tool) in [(&given, Tool::Etcd), (&cache, Tool::Etcd), (&cache, Tool::Kubectl)] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(tool.name()), "").unwrap();
        }
        let assets = Assets {
            given: Some(given.clone()),
            cache: cache.clone(),
        };
        assert_eq!(assets.path(Tool::Etcd).unwrap(), given.join("etcd"));
        assert_eq!(assets.path(Tool::Kubectl).unwrap(), cache.join("kubectl"));
        assert_eq!(assets.dirs(), [given, cache]);
    }

    #[test]
    fn another_pin_is_another_folder() {
        let other = Module {
            folder: ".",
            go_mod: "module x",
            go_sum: "",
        };
        assert_ne!(fingerprint(&[&KUBERNETES]), fingerprint(&[&other]));
    }
}
