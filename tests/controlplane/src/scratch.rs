//! Randomness, and folders that remove themselves.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// `N` bytes from the system.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    File::open(path)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// 32 hex digits.
pub(crate) fn random_hex() -> Result<String, Error> {
    Ok(random_bytes::<16>()?.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// A new folder `<parent>/<prefix><random>`, readable by its owner only.
pub(crate) fn new_dir(parent: &Path, prefix: &str) -> Result<PathBuf, Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    let dir = parent.join(format!("{prefix}{}", &random_hex()?[..12]));
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&dir)
        .map_err(Error::io("create", &dir))?;
    Ok(dir)
}

/// A folder that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
