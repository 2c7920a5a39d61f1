//! The way to Keystone: sessions that hold a token of our own. Who asks what is elsewhere: `auth` about callers, `limits` about
//! what projects may have.

mod catalog;
mod health;
mod login;
mod session;
pub(crate) mod tls;
mod waiters;

pub(crate) use catalog::{CATALOG_PATH, Catalog};
#[cfg(test)]
pub(crate) use health::AWAY_HOLDS;
pub(crate) use health::Health;
pub(crate) use session::{SUBJECT_TOKEN, Session, away};
pub(crate) use waiters::Waiters;
