//! Classes of tenants and namespaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Commercial tier of a template. It becomes the label `tenantry.dev/tier` of each namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Trial use, one small namespace.
    Free,
    /// Small teams.
    Standard,
    /// Production teams.
    Premium,
    /// Departments.
    Enterprise,
    /// Large regulated customers.
    EnterprisePlus,
    /// Resellers under their own brand.
    WhiteLabel,
}

impl Tier {
    /// Every tier, from the smallest to the largest.
    pub const ALL: [Self; 6] = [
        Self::Free,
        Self::Standard,
        Self::Premium,
        Self::Enterprise,
        Self::EnterprisePlus,
        Self::WhiteLabel,
    ];

    /// The value as written in YAML and on labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Standard => "Standard",
            Self::Premium => "Premium",
            Self::Enterprise => "Enterprise",
            Self::EnterprisePlus => "EnterprisePlus",
            Self::WhiteLabel => "WhiteLabel",
        }
    }
}

/// Purpose of a namespace, which becomes its label `tenantry.dev/environment`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// Daily work of developers.
    #[default]
    Development,
    /// Automated and manual tests.
    Testing,
    /// The last tests before production.
    Staging,
    /// What customers use.
    Production,
}

impl Environment {
    /// The value as written in YAML and on labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "Development",
            Self::Testing => "Testing",
            Self::Staging => "Staging",
            Self::Production => "Production",
        }
    }
}
