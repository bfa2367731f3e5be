//! What the status says of namespaces that nobody asks for and that stay.

use crate::tenant::outcome::{Kept, Why};
use crate::{conditions::Statement, tenant::validate::ValidTenant};
use tenantry_api::names;
use tenantry_api::{Reason, conditions::types::NAMESPACES_KEPT};

/// The condition of a Tenant that is not being deleted.
pub(super) fn of_applied(valid: &ValidTenant) -> Option<Statement> {
    let unwanted = valid.namespaces.iter().filter(|namespace| !namespace.is_wanted());
    let protected: Vec<&str> = unwanted
        .filter(|_| valid.protects)
        .map(|namespace| &*namespace.name)
        .collect();
    let unclaimed: Vec<&str> = valid.unclaimed.iter().map(String::as_str).collect();
    let home = names::home(&valid.name);
    let protected = (!protected.is_empty()).then(|| {
        let message = format!(
            "spec.deletionProtection keeps {}, which neither spec.namespaces nor a TenantNamespace asks for: the guards stay and owners have no rights there. To use a namespace again, ask for it again. To have the operator delete all of them, set spec.deletionProtection to false",
            protected.join(", ")
        );
        (Reason::DeletionProtection, message)
    });
    let unclaimed = (!unclaimed.is_empty()).then(|| {
        let message = format!(
            "the TenantNamespaces that asked for {} are missing, and the operator saw no request to delete them: guards and rights stay. Create each again in {home}. To delete a namespace, delete its TenantNamespace after that",
            unclaimed.join(", ")
        );
        (Reason::ClaimMissing, message)
    });
    let said: Vec<_> = protected.into_iter().chain(unclaimed).collect();
    let (reason, _) = *said.first()?;
    let messages: Vec<&str> = said.iter().map(|(_, message)| message.as_str()).collect();
    Some(Statement::holds(NAMESPACES_KEPT, reason, messages.join(". ")))
}

/// The condition of a Tenant that is being deleted.
pub(super) fn of_deleting(kept: &Kept) -> Statement {
    Statement::holds(NAMESPACES_KEPT, kept.why.reason(), message(kept))
}

impl Why {
    /// Reason of the condition and of the Event.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Protected => Reason::DeletionProtection,
            Self::Undefined => Reason::DefinitionDeleted,
        }
    }
}

/// What was kept, why, and what to do.
pub fn message(Kept { why, namespaces }: &Kept) -> String {
    let cause = match why {
        Why::Protected => "spec.deletionProtection is true",
        Why::Undefined => "the definition of Tenants is being deleted too",
    };
    format!(
        "{cause}, so the operator deleted no namespace. Kept with their guards and without owners: {}. To hand one to a Tenant of the same name, annotate it: {}=<tenant>. To delete one: kubectl delete namespace",
        namespaces.join(", "),
        names::ADOPT_BY
    )
}
