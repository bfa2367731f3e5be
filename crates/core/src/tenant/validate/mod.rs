//! Step 2: checks a Tenant against the facts and gives a [`ValidTenant`], or what is wrong with it. Pure.
//!
//! After this step nothing is left to check. Names are valid and the template is resolved. It is decided whether each
//! namespace is the tenant's, free or a conflict, and which quota it gets.

mod claims;
mod direct;
mod home;
mod members;
mod namespaces;
mod quota;
mod rights;
mod room;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::{
    claims::{ValidClaim, Verdict, is_claimed, taken},
    direct::{TurnedAway, may_be_made_for},
    home::Home,
    members::{Member, subjects_by_binding},
    quota::QuotaPlan,
    rights::Rights,
    room::Room,
};
use self::{
    home::place_home,
    members::members,
    namespaces::{Placed, place},
    rights::rights,
    room::{Admitted, admit},
};
use super::facts::{Facts, Template};
use crate::{
    effective::{Effective, resolve},
    object::{Key, Kind, Live},
    settings::Settings,
};
use tenantry_api::{
    Reason, names,
    v1alpha1::{
        Branding, DeletionPolicy, Environment, OwnerRole, Tenant, TenantSpec, TenantState, TenantTemplateSpec, Tier,
    },
};

/// A Tenant that passed every check, ready for `build`.
#[derive(Clone, Debug)]
pub struct ValidTenant {
    /// metadata.name.
    pub name: String,
    /// metadata.uid; `None` offline.
    pub uid: Option<String>,
    /// metadata.generation; `None` offline.
    pub generation: Option<i64>,
    /// Name of the template.
    pub template_name: String,
    /// The template.
    pub template: Arc<TenantTemplateSpec>,
    /// The template's fields that overrides may replace, resolved.
    pub effective: Effective,
    /// Active or Frozen.
    pub state: TenantState,
    /// Brand; only for WhiteLabel.
    pub branding: Option<Branding>,
    /// Namespaces that are to exist, in order of name.
    pub namespaces: Vec<ValidNamespace>,
    /// The home namespace, in which owners create TenantNamespaces.
    pub home: Option<Home>,
    /// The TenantNamespaces of owners with the decisions on them, by name.
    pub claims: Vec<ValidClaim>,
    /// Namespaces that owners created and that are not accepted.
    pub turned_away: Vec<TurnedAway>,
    /// How the number of namespaces compares to the places that the template grants.
    pub room: Room,
    /// Namespaces that stay as they are although their TenantNamespace is missing.
    pub unclaimed: BTreeSet<String>,
    /// Whether only `deletionProtection` keeps the namespaces that nobody wants any more.
    pub protects: bool,
    /// Namespaces that exist under a wanted name and are not this tenant's.
    pub conflicts: Vec<Conflict>,
    /// Namespaces of this tenant that are being deleted, or are to be.
    pub leaving: Vec<Leaving>,
    /// The members of each role.
    pub members: BTreeMap<OwnerRole, Vec<Member>>,
    /// Whether owners get their rights.
    pub rights: Rights,
    /// The next ResourceQuota of each namespace.
    pub quota: QuotaPlan,
    /// Optional kinds that the cluster serves.
    pub served: BTreeSet<Kind>,
}

impl ValidTenant {
    /// The tier.
    pub fn tier(&self) -> Tier {
        self.template.tier
    }
}

/// A namespace that is to exist.
#[derive(Clone, Debug)]
pub struct ValidNamespace {
    /// Full name.
    pub name: String,
    /// Its environment, such as Production.
    pub environment: Environment,
    /// Labels from the Tenant.
    pub labels: BTreeMap<String, String>,
    /// Its weight in the spread of the grant. `None`: nobody wants the namespace any more, and it stays without rights for
    /// owners.
    pub weight: Option<u32>,
    /// Whether an owner created it directly, and so may delete it directly.
    pub direct: bool,
    /// Whether a TenantNamespace asked for it.
    pub claimed: bool,
}

impl ValidNamespace {
    /// Whether the Tenant lists it or an owner asked for it.
    pub fn is_wanted(&self) -> bool {
        self.weight.is_some()
    }
}

/// A namespace that exists under a wanted name and is not this tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Full name.
    pub namespace: String,
    /// Why it is not this tenant's, and what to do.
    pub message: String,
}

/// A namespace of this tenant that is being deleted, or is to be.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// Its key.
    pub key: Key,
    /// The live namespace.
    pub live: Arc<Live>,
}

/// Why a Tenant is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Reason of the condition.
    pub reason: Reason,
    /// What is wrong, in which field, and what to do.
    pub message: String,
}

fn invalid<T>(reason: Reason, message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid {
        reason,
        message: message.into(),
    })
}

/// Checks `tenant` against the facts.
pub fn validate(tenant: &Tenant, facts: &Facts, settings: &Settings) -> Result<ValidTenant, Invalid> {
    let TenantSpec {
        template_ref,
        owners,
        namespaces,
        overrides,
        state,
        deletion_policy,
        deletion_protection,
        branding,
    } = &tenant.spec;
    let name = tenant.metadata.name.clone().unwrap_or_default();
    if !is_label(&name) || name.len() > 40 {
        return invalid(
            Reason::InvalidName,
            format!(
                "metadata.name: {name:?} is not a DNS label (a-z, 0-9, -) of at most 40 characters; create the Tenant with another name"
            ),
        );
    }
    let template = match &facts.template {
        Template::Found(template) => template.clone(),
        Template::Missing => {
            return invalid(
                Reason::TemplateNotFound,
                format!(
                    "spec.templateRef.name: TenantTemplate {:?} does not exist; create it, or choose one of kubectl get tenanttemplates",
                    template_ref.name
                ),
            );
        }
        Template::Undecodable(error) => {
            return invalid(
                Reason::TemplateUndecodable,
                format!(
                    "spec.templateRef.name: the operator cannot read TenantTemplate {:?}: {error}; correct the template and apply it again",
                    template_ref.name
                ),
            );
        }
    };
    let overrides = overrides.clone().unwrap_or_default();
    let effective = resolve(&name, &template, &overrides).map_err(|loosened| Invalid {
        reason: Reason::OverrideNotAllowed,
        message: loosened.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    })?;
    if branding.is_some() && template.tier != Tier::WhiteLabel {
        return invalid(
            Reason::BrandingNotAllowed,
            format!(
                "spec.branding: the template's tier is {}, and only WhiteLabel allows branding; remove it",
                template.tier.as_str()
            ),
        );
    }
    let limit = effective.quotas.namespaces.unwrap_or(i64::MAX);
    if i64::try_from(namespaces.len()).is_ok_and(|count| count > limit) {
        return invalid(
            Reason::TooManyNamespaces,
            format!(
                "spec.namespaces: {} are listed and quotas.namespaces allows {limit}; remove some or choose a larger template",
                namespaces.len()
            ),
        );
    }

    let listed = listed_namespaces(&name, tenant)?;
    let Admitted {
        wanted,
        mut claims,
        turned_away,
        room,
        home,
        unclaimed,
    } = admit(tenant, &name, listed, &template, effective.quotas.namespaces, facts);
    let Placed {
        desired,
        mut conflicts,
        mut leaving,
    } = place(
        tenant,
        &name,
        &wanted,
        template.self_service,
        retains(&tenant.spec),
        facts,
    );
    claims::settle(&mut claims, &mut conflicts);
    let quota = quota::plan(&effective, &template, &desired, &leaving, facts, settings);
    // After the quota, because the home namespace gets no share of the grant.
    let home = place_home(tenant, &name, home, facts, &mut leaving, &mut conflicts);
    Ok(ValidTenant {
        uid: tenant.metadata.uid.clone(),
        generation: tenant.metadata.generation,
        template_name: template_ref.name.clone(),
        rights: rights(&template),
        effective,
        template,
        state: *state,
        branding: branding.clone(),
        namespaces: desired,
        home,
        claims,
        turned_away,
        room,
        unclaimed,
        protects: *deletion_protection && *deletion_policy == DeletionPolicy::Delete,
        conflicts,
        leaving,
        members: members(owners)?,
        quota,
        served: facts.served.kinds.clone(),
        name,
    })
}

/// Whether namespaces that nobody wants any more stay.
pub(super) fn retains(spec: &TenantSpec) -> bool {
    spec.deletion_protection || spec.deletion_policy == DeletionPolicy::Retain
}

/// The weight, 1 if it is omitted. The schema refuses weights below 1.
fn weight(given: Option<i32>) -> u32 {
    given.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1)
}

/// RFC 1123 label.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn listed_namespaces(tenant_name: &str, tenant: &Tenant) -> Result<BTreeMap<String, ValidNamespace>, Invalid> {
    let mut listed = BTreeMap::new();
    for (index, entry) in tenant.spec.namespaces.iter().enumerate() {
        let name = names::namespace(tenant_name, &entry.name);
        if !is_label(&name) || !is_label(&entry.name) {
            return invalid(
                Reason::InvalidName,
                format!(
                    "spec.namespaces[{index}].name: {name:?} is not a valid namespace name (a-z, 0-9, -; at most 63 characters); choose another name"
                ),
            );
        }
        if names::is_home(&entry.name) {
            return invalid(
                Reason::InvalidName,
                format!("spec.namespaces[{index}].name: {name} is reserved for a home namespace; choose another name"),
            );
        }
        let namespace = ValidNamespace {
            name: name.clone(),
            environment: entry.environment,
            labels: entry.labels.clone(),
            weight: Some(weight(entry.weight)),
            direct: false,
            claimed: false,
        };
        if listed.insert(name, namespace).is_some() {
            return invalid(
                Reason::InvalidName,
                format!(
                    "spec.namespaces[{index}].name: {:?} is listed twice; remove one",
                    entry.name
                ),
            );
        }
    }
    Ok(listed)
}
