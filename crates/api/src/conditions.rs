//! Condition types and reasons: the words that statuses use, in one table.
//!
//! A new reason is one entry here and one row in the table of docs/operations.md; a test compares the two.

use std::{fmt, str::FromStr};

/// Condition types.
pub mod types {
    /// The object is as its spec says (kstatus).
    pub const READY: &str = "Ready";
    /// The operator or a controller is still working (kstatus); absent otherwise.
    pub const RECONCILING: &str = "Reconciling";
    /// Somebody must act before the operator can continue (kstatus); absent otherwise.
    pub const STALLED: &str = "Stalled";
    /// Every listed namespace exists with all its objects.
    pub const NAMESPACES_READY: &str = "NamespacesReady";
    /// The API server enforces every quota, and their sum is within the grant.
    pub const QUOTA_ENFORCED: &str = "QuotaEnforced";
    /// Every guard but the quota is in place.
    pub const POLICIES_ENFORCED: &str = "PoliciesEnforced";
    /// Owners have their rights.
    pub const ACCESS_GRANTED: &str = "AccessGranted";
    /// Monitoring objects are in place; absent if the template asks for none.
    pub const MONITORING_READY: &str = "MonitoringReady";
    /// Owners can request namespaces; absent if there is no home namespace.
    pub const SELF_SERVICE_READY: &str = "SelfServiceReady";
    /// The API server refuses writes of the tenant; absent otherwise.
    pub const FROZEN: &str = "Frozen";
    /// A namespace is being deleted and an object keeps it; absent otherwise.
    pub const DELETION_BLOCKED: &str = "DeletionBlocked";
    /// Namespaces stay that nobody asks for; absent otherwise.
    pub const NAMESPACES_KEPT: &str = "NamespacesKept";
    /// Every field that the template sets has an effect on this cluster.
    pub const ALL_FIELDS_EFFECTIVE: &str = "AllFieldsEffective";
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident,)*) => {
        /// Reason of a condition.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// As a condition and an Event show it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason),)*
                }
            }
        }
    };
}

reasons! {
    /// A Tenant is as its template and its spec say.
    Reconciled,
    /// Every listed namespace exists with all its objects.
    NamespacesReady,
    /// The sum of the quotas is within the grant.
    WithinGrant,
    /// Guards are in place.
    PoliciesApplied,
    /// Owners have their rights.
    Granted,
    /// Nobody is an owner.
    NoOwners,
    /// Owners wait for guards.
    AwaitingGuards,
    /// The template does not exist.
    TemplateNotFound,
    /// The operator cannot read the template.
    TemplateUndecodable,
    /// An override loosens a field that the template does not open.
    OverrideNotAllowed,
    /// The Tenant is Stalled: what a condition reported before is not kept up to date.
    NotReconciled,
    /// More namespaces than the template grants.
    TooManyNamespaces,
    /// `branding` outside tier WhiteLabel.
    BrandingNotAllowed,
    /// A name gives no valid namespace name.
    InvalidName,
    /// An owner that cannot be one.
    InvalidOwner,
    /// A namespace of that name belongs to somebody else.
    ConflictingOwner,
    /// The template needs something that the cluster lacks.
    PrerequisiteMissing,
    /// The API server refused a write, or was unreachable.
    ApplyFailed,
    /// The tenant uses more than its grant.
    QuotaAboveGrant,
    /// The quota controller has not counted a quota yet.
    AwaitingQuota,
    /// Shares are moving between namespaces.
    QuotaMoving,
    /// The API server is deleting namespaces that are no longer listed.
    NamespacesTerminating,
    /// The object is being deleted.
    Terminating,
    /// An object with a finalizer keeps a namespace.
    ContentRemains,
    /// `deletionProtection` keeps namespaces.
    DeletionProtection,
    /// A TenantNamespace is missing, and nobody asked to delete it.
    ClaimMissing,
    /// The definition of Tenants is being deleted too.
    DefinitionDeleted,
    /// The prometheus-operator's definitions are missing.
    CRDNotInstalled,
    /// Monitors and rules are in place.
    MonitorsApplied,
    /// The home namespace accepts requests.
    HomeReady,
    /// `spec.state` is Frozen.
    FrozenBySpec,
    /// A TenantNamespace has its namespace.
    Active,
    /// Every granted namespace is taken.
    NoRoom,
    /// The name of a TenantNamespace is taken.
    NameTaken,
    /// An earlier namespace of that name is being deleted.
    NamespaceTerminating,
    /// The template closes self-service.
    SelfServiceDisabled,
    /// The Tenant has an error that somebody must fix first.
    TenantInvalid,
    /// Tenants can use the template.
    Valid,
    /// Two blocks of the template contradict each other.
    Contradiction,
    /// Tenants still use the template.
    InUse,
    /// Every field that is set has an effect.
    AllEffective,
    /// Some fields have no effect.
    NotEnforced,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a reason of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason of this version")]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let mut all = Self::ALL.iter();
        all.find(|reason| reason.as_str() == text).copied().ok_or(UnknownReason)
    }
}
