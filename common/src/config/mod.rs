//! Configuration: Glance's own `glance-api.conf`, plus the groups `[dataplane]` and `[control]` of Vitrine.
//!
//! Layers, highest first: command line ([`Overrides`]), environment `OS_<GROUP>__<OPTION>`, files in order (the
//! later wins), the built-in defaults of the table in [`options`]. [`Config::load`] folds them into one immutable
//! value and reports every problem at once.
//!
//! `ini` reads the file format, `value` the types of values, `settings` layers and substitutes, `resolve` turns
//! options into [`Config`], and `reference` writes `docs/configuration.md` from the table.

pub mod ini;
pub mod options;
mod plugins;
mod problem;
pub mod reference;
mod resolve;
mod resolve_keystone;
mod resolve_services;
mod resolve_stores;
mod resolve_tls;
mod resolved;
mod resolved_keystone;
mod services;
mod settings;
mod value;

pub use plugins::{ConversionLimits, Plugin, Plugins};
pub use problem::{Place, Problem, Warning};
pub use resolved::{
    Api, Auth, Browsers, ClientAuth, Config, Control, DataDir, Database, Dataplane, Driver, FileStore, Flavor,
    HashLanes, Health, KeystoneAccess, KeystoneAuth, Learnt, LimitsEndpoint, Listen, Logging, Overrides, Paths,
    PolicyFiles, ProtectionFile, ProtectionFormat, RbdStore, STAGING_STORE, Scope, Secret, SendPath,
    ServiceCredentials, StoreConfig, StoreKind, Stores, Tls, UnifiedLimits,
};
pub use services::{BarbicanOptions, ImageCache, KeyManagerKind};
