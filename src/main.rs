//! The `tenantry` binary.
fn main() -> anyhow::Result<()> {
    tenantry::generate::write(std::path::Path::new("."))?;
    Ok(())
}
