//! The specs of Tenant and TenantTemplate as their CRDs describe them, what each field changes, and random edits of them.

pub mod compare;
pub mod edits;
pub mod fields;
pub mod start;
