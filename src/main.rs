//! The `tenantry` binary.

use clap::Parser;
use tenantry::cli::Cli;

fn main() {
    let _ = Cli::parse();
}
