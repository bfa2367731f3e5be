//! The start of a walk, in which single fields are changed: a template and a tenant with a value in every field that
//! lets owners in.

use serde_json::{Value, json};

/// Name of the tenant, of its template, and of another template that it may name.
pub const TENANT: &str = "acme";
pub const TEMPLATE: &str = "walk-a";
pub const OTHER_TEMPLATE: &str = "walk-b";

const TEMPLATE_SPEC: &str = "
tier: WhiteLabel
description: for the walk
quotas:
  cpu: 8
  memory: 16Gi
  storage: 100Gi
  namespaces: 12
  pods: 60
  networkBandwidth: 100M
  concurrentConnections: 1000
  apiRequestsPerMinute: 600
  databaseConnections: 20
  cache: 256Mi
  mlModelInstances: 4
  aiProcessingUnits: 2
  objects: { services: 40, count/jobs.batch: 30 }
quotaSpread: Demand
containers:
  default: { cpu: 200m, memory: 128Mi }
  defaultRequest: { cpu: 100m, memory: 64Mi }
  min: { cpu: 10m, memory: 4Mi }
  max: { cpu: 2, memory: 2Gi }
  volumes: { min: 1Gi, max: 50Gi }
network:
  isolation: Tenant
  internetEgress: Deny
  egress: [{ cidr: 10.0.0.0/8, except: [10.20.0.0/16], ports: [{ protocol: TCP, port: 443, endPort: 40443 }] }]
  ingressFrom: [{ namespaceLabels: { team: edge }, ports: [{ protocol: TCP, port: 80, endPort: 40080 }] }]
  serviceTypes: [ClusterIP, LoadBalancer]
  ingressHosts: ['*.{tenant}.example.com']
  ingressClasses: [nginx]
security:
  podSecurity: Baseline
  encryption: Basic
  registries: [registry.example.com]
  storageClasses: [fast, slow]
  ipAllowList: [192.0.2.0/24]
  allowedCountries: [DE]
  onMissingMeans: Deny
compliance: { frameworks: [GDPR] }
ai: { level: Basic, models: [small] }
monitoring:
  metrics: true
  scrapeIntervalSeconds: 30
  sampleLimit: 1000
  targetLimit: 10
  alerts: true
  dashboard: true
  labels: { release: main }
  slo: { availability: '99.9', latencyP99Milliseconds: 200, windowDays: 30 }
placement:
  nodeSelector: { pool: blue }
  tolerations: [{ key: example.com/pool, operator: Equal, value: blue, effect: NoSchedule }]
  regions: [eu-central-1]
  priorityClasses: [normal]
  runtimeClasses: [runc]
pricing: { currency: EUR, monthlyBase: 100, cpuHour: '0.04', memoryGibHour: '0.01', storageGibMonth: '0.1', acceleratorHour: 2 }
support: { level: Standard, responseMinutes: 240, contact: help@example.com }
rollout: { strategy: Staged, batchPercent: 10, pauseSeconds: 60 }
selfService: Claim
directOverflow: Wait
overridable: [Quotas, PodSecurity, Registries, StorageClasses, ServiceTypes, IngressHosts, InternetEgress, Egress, NodeSelector]
";

const TENANT_SPEC: &str = "
templateRef: { name: walk-a }
owners:
- { kind: User, name: olga, role: Owner }
- { kind: Group, name: readers, role: Viewer }
namespaces:
- { name: a, environment: Production, labels: { example.com/team: blue }, weight: 2 }
- { name: b }
state: Active
deletionPolicy: Delete
deletionProtection: false
branding:
  displayName: Acme Cloud
  domain: cloud.acme.example
  logoUrl: https://acme.example/logo.svg
  primaryColor: '#0044ff'
  supportEmail: help@acme.example
";

const OVERRIDES: &str = "
quotas:
  cpu: 6
  memory: 12Gi
  storage: 80Gi
  namespaces: 11
  pods: 40
  networkBandwidth: 50M
  concurrentConnections: 900
  apiRequestsPerMinute: 500
  databaseConnections: 15
  cache: 128Mi
  mlModelInstances: 3
  aiProcessingUnits: 1
  objects: { services: 20 }
podSecurity: Restricted
registries: [registry.example.com/team]
storageClasses: [fast]
serviceTypes: [ClusterIP]
ingressHosts: ['*.acme.example.com']
internetEgress: Allow
egress: [{ cidr: 10.16.0.0/12, except: [10.20.0.0/16], ports: [{ protocol: TCP, port: 443, endPort: 40443 }] }]
nodeSelector: { zone: one }
";

fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The template's spec.
pub fn template() -> Value {
    read(TEMPLATE_SPEC)
}

/// The spec of the other template, which has defaults in most fields.
pub fn other_template() -> Value {
    json!({ "tier": "Standard", "quotas": { "cpu": "4", "pods": 30, "namespaces": 12 } })
}

/// The tenant's spec, without overrides.
pub fn tenant() -> Value {
    read(TENANT_SPEC)
}

/// The tenant's spec, with a value in every field.
pub fn overriding_tenant() -> Value {
    let mut spec = tenant();
    spec["overrides"] = read(OVERRIDES);
    spec
}
