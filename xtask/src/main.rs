//! `cargo xtask generate`: writes every generated file, or checks that all are current.

use std::{io::Write as _, path::Path};

use anyhow::bail;
use clap::{Parser, Subcommand};
use xtask::generate;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the generated files (CRDs, chart copies, docs), or check that they are current.
    Generate {
        /// Write nothing; fail if a generated file is out of date.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let Command::Generate { check } = Xtask::parse().command;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    if check {
        let stale = generate::stale(root)?;
        if !stale.is_empty() {
            let list: Vec<_> = stale.iter().map(|path| path.display().to_string()).collect();
            bail!(
                "these files are out of date, run `cargo xtask generate`: {}",
                list.join(", ")
            );
        }
        return Ok(());
    }
    for path in generate::write(root)? {
        writeln!(std::io::stdout(), "wrote {}", path.display())?;
    }
    Ok(())
}
