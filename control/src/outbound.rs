//! The gate to what is not ours: which addresses a URL of a user's may be asked for at.
//!
//! The only place that looks names up for users. The data plane connects to the addresses that it is given here and to no others, so
//! that what is checked is what is connected to, whatever the name stands for a moment later.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::config::Config;
use common::outbound::{Filter, Target};
use common::rpc::Located;
use common::{Error, Kind, Result};
use tokio::sync::Semaphore;

/// Names that are looked up at a time.
const LOOKUPS_MAX: usize = 16;

/// Longest wait for a turn, and for the answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// The gate. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    config: Arc<Config>,
    turns: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Gate { config, turns: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Where `url` may be asked for.
    ///
    /// # Errors
    /// 403 where it may not be: by what it says, or because the host has no address that is open to users. Why is for the log only.
    /// 503 while names cannot be looked up.
    pub(crate) async fn locate(&self, url: &str) -> Result<Located> {
        let refused = |why: &dyn std::fmt::Display| {
            tracing::info!("a URL of a user's is refused: {why}");
            Error::forbidden("The URL does not pass filtering.")
        };
        let filter = &self.config.outbound;
        let target = filter.admit(url).map_err(|why| refused(&why))?;
        let found = match target.address() {
            Some(address) => vec![address],
            None => self.look_up(&target.host, target.port).await?.map_err(|error| refused(&error))?,
        };
        let addresses = open_to_users(filter, &target, found);
        match addresses.is_empty() {
            true => Err(refused(&"the host has no address that is open to users")),
            false => Ok(Located { addresses }),
        }
    }

    /// Whether `url` may be asked for.
    ///
    /// # Errors
    /// 503 while names cannot be looked up.
    pub(crate) async fn admits(&self, url: &str) -> Result<bool> {
        match self.locate(url).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::Forbidden => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The addresses of a host, or why it has none.
    async fn look_up(&self, host: &str, port: u16) -> Result<std::io::Result<Vec<IpAddr>>> {
        let busy = |what: &str| {
            let retry = self.config.control.retry_after_seconds;
            Error::unavailable("Names cannot be looked up now. Try again.", retry).caused_by(what)
        };
        let turn = tokio::time::timeout(LOOKUP_TIMEOUT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(busy("too many names are being looked up")) };
        let name = (host.to_owned(), port);
        // A look-up that nobody waits for any more goes on, and so does its turn: there are never more threads than turns.
        let asked = tokio::spawn(async move {
            let _turn = turn;
            tokio::net::lookup_host(name).await.map(|found| found.map(|address| address.ip()).collect())
        });
        match tokio::time::timeout(LOOKUP_TIMEOUT, asked).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(panicked)) => Err(Error::internal(panicked)),
            Err(_) => Err(busy("a name server does not answer")),
        }
    }
}

/// Of the addresses that `target`'s host has those that may be connected to.
fn open_to_users(filter: &Filter, target: &Target, mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    found.retain(|address| filter.admits_address(target, *address));
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_worth_its_public_addresses() {
        let addresses =
            |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<IpAddr>>();
        let target = Target::parse("http://images.example/").expect("a URL");
        let filter = Filter::default();
        let found = addresses(&["8.8.8.8", "8.8.8.8", "10.0.0.1", "::1", "::ffff:10.0.0.1", "2606:4700::1111"]);
        assert_eq!(open_to_users(&filter, &target, found.clone()), addresses(&["8.8.8.8", "2606:4700::1111"]));
        assert!(open_to_users(&filter, &target, addresses(&["192.168.0.1", "fe80::1"])).is_empty());
        let listed = Filter { allowed_hosts: vec!["images.example".into()], ..filter };
        assert_eq!(open_to_users(&listed, &target, found).len(), 5);
        let many = (0..100).map(|last| IpAddr::from([8, 8, 8, last])).collect();
        assert_eq!(open_to_users(&listed, &target, many).len(), ADDRESSES_MAX);
    }
}
