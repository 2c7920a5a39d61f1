//! What a project may have, decided on what it has: inside of the transaction that takes what is allowed, so that requests at the
//! same time are decided one after the other.
//!
//! Unified limits are whole MiB, and what is there and what is to come are rounded down each, as Glance does. Only what comes
//! without a known length is counted in bytes.

use common::catalog::{Awaited, Intent, Purpose, Queries};
use common::{Error, Kind, Result};

use super::wire::{Figures, Resource};

/// Bits of a MiB.
const MIB_BITS: u32 = 20;

/// An upload of unknown length reserves what it needs, and this part (one in so many) of what is left, so that it need not ask
/// for every buffer.
const STEP_SHARE: u64 = 256;

/// Bytes that it reserves at most beyond what it needs.
const STEP_BYTES_MAX: u64 = 64 << 20;

/// Bytes below which it is not worth it: where little is left, nobody has more than it needs.
const STEP_BYTES_MIN: u64 = 1 << 20;

/// What a project may have, as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    project: Option<String>,
    rule: Rule,
}

/// What limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing.
    Unlimited,
    /// Bytes of all its images.
    Storage(u64),
    /// Keystone's limits.
    Unified(Figures),
}

/// A limit and what is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Name of the resource.
    pub(crate) resource: &'static str,
    /// Images, or MiB.
    pub(crate) usage: u64,
    /// The same; negative: no limit.
    pub(crate) limit: i64,
}

impl Share {
    pub(super) fn new(project: Option<&str>, rule: Rule) -> Self {
        Share { project: project.map(str::to_owned), rule }
    }

    /// The project.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// All unified limits and what is used of them; `None` where they do not count.
    pub(crate) fn usage(&self, catalog: &Queries<'_>) -> Result<Option<Vec<Usage>>> {
        let Rule::Unified(figures) = &self.rule else { return Ok(None) };
        let all = Resource::ALL.into_iter().map(|resource| {
            let (usage, limit) = (self.used(catalog, resource)?, figures.get(resource).unwrap_or(0));
            Ok(Usage { resource: resource.as_str(), usage, limit })
        });
        all.collect::<Result<_>>().map(Some)
    }

    /// Refuses one more image.
    ///
    /// # Errors
    /// 413.
    pub(crate) fn check_images(&self, catalog: &Queries<'_>) -> Result<()> {
        self.check(catalog, Resource::CountTotal, 1)
    }

    /// Refuses if more images are on the move than may be, that of the caller included.
    ///
    /// # Errors
    /// 413.
    pub(crate) fn check_moving(&self, catalog: &Queries<'_>) -> Result<()> {
        self.check(catalog, Resource::CountUploading, 0)
    }

    /// Refuses data for `purpose` that Keystone's limits do not allow. `size`: bytes, where known.
    ///
    /// # Errors
    /// 413.
    pub(crate) fn check_data(&self, catalog: &Queries<'_>, purpose: Purpose, size: Option<u64>) -> Result<()> {
        let Rule::Unified(_) = &self.rule else { return Ok(()) };
        let resource = if purpose == Purpose::Staging { Resource::StageTotal } else { Resource::SizeTotal };
        self.check(catalog, resource, size.unwrap_or(0) >> MIB_BITS)
    }

    /// Bytes that are to be reserved for data of so many bytes, or of an unknown number, which [`Share::check_data`] has let
    /// pass; `None`: none, as nothing is counted.
    ///
    /// # Errors
    /// 413 when the storage quota is less than that, or used up.
    pub(crate) fn reserve(&self, catalog: &Queries<'_>, size: Option<u64>) -> Result<Option<u64>> {
        match self.rule {
            Rule::Unlimited => Ok(size),
            Rule::Unified(_) => Ok(Some(size.unwrap_or(0))),
            Rule::Storage(quota) => {
                let used = self.stored(catalog, Awaited::All, None)?;
                let left = quota.saturating_sub(used);
                if size.map_or(left == 0, |size| size > left) {
                    return Err(over_quota("Image exceeds the storage quota", size, quota, used));
                }
                Ok(Some(size.unwrap_or(0)))
            }
        }
    }

    /// Bytes that may still come, without reserving them.
    ///
    /// # Errors
    /// None of its own.
    pub(crate) fn left(&self, catalog: &Queries<'_>) -> Result<u64> {
        let (which, limit) = match self.rule {
            Rule::Unlimited => return Ok(u64::MAX),
            Rule::Storage(quota) => (Awaited::All, quota),
            Rule::Unified(figures) => match u64::try_from(figures.get(Resource::SizeTotal).unwrap_or(0)) {
                Ok(limit) => (Awaited::Stores, bytes_within(limit)),
                Err(_) => return Ok(u64::MAX),
            },
        };
        Ok(limit.saturating_sub(self.stored(catalog, which, None)?))
    }

    /// Refuses `added` more bytes, without reserving them.
    ///
    /// # Errors
    /// 413.
    pub(crate) fn check_located(&self, catalog: &Queries<'_>, added: u64) -> Result<()> {
        let Rule::Storage(quota) = self.rule else { return Ok(()) };
        let used = self.stored(catalog, Awaited::All, None)?;
        if added <= quota.saturating_sub(used) {
            return Ok(());
        }
        Err(over_quota("Denying attempt to upload image because it exceeds the quota", Some(added), quota, used))
    }

    /// Bytes that are to be reserved for `upload`, which has to have room for `size`. Less than that: there is none, but uploads
    /// that began later have some; unless it is the `last` time that it asks. `size_max`: largest size of an image.
    ///
    /// # Errors
    /// 413 when there is no room.
    pub(crate) fn grow(
        &self,
        catalog: &Queries<'_>,
        upload: &Intent,
        (size, last): (u64, bool),
        size_max: u64,
    ) -> Result<u64> {
        let id = upload.upload_id.as_str();
        let (which, limit) = match self.rule {
            Rule::Unlimited => return Ok(size_max),
            Rule::Storage(quota) => (Awaited::All, quota),
            Rule::Unified(figures) => {
                let resource =
                    if upload.purpose == Purpose::Staging { Resource::StageTotal } else { Resource::SizeTotal };
                match u64::try_from(figures.get(resource).unwrap_or(0)) {
                    Ok(limit) => (Awaited::beside(upload.purpose), bytes_within(limit)),
                    Err(_) => return Ok(size_max),
                }
            }
        };
        let used = self.stored(catalog, which, Some(id))?;
        let room = limit.saturating_sub(used);
        if size <= room {
            let step = ((room - size) / STEP_SHARE).min(STEP_BYTES_MAX);
            let step = if step < STEP_BYTES_MIN { 0 } else { step };
            return Ok(size.saturating_add(step).min(size_max.max(size)));
        }
        if !last && catalog.is_followed(id, self.project(), which)? {
            return Ok(upload.reserved.unwrap_or(0));
        }
        match self.rule {
            Rule::Unified(_) if which == Awaited::Staging => {
                Err(self.outgrown(Resource::StageTotal, limit, used, size))
            }
            Rule::Unified(_) => Err(self.outgrown(Resource::SizeTotal, limit, used, size)),
            _ => Err(over_quota("Image exceeds the storage quota", Some(size), limit, used)),
        }
    }

    /// What is used of a resource, without what is only reserved.
    fn used(&self, catalog: &Queries<'_>, resource: Resource) -> Result<u64> {
        let project = self.project();
        Ok(match resource {
            Resource::SizeTotal => catalog.storage_used(project)? >> MIB_BITS,
            Resource::StageTotal => catalog.staging_used(project)? >> MIB_BITS,
            Resource::CountTotal => catalog.images_of(project)?,
            Resource::CountUploading => catalog.images_moving_of(project)?,
        })
    }

    /// Bytes that are there or reserved, but for those of the upload `besides`.
    fn stored(&self, catalog: &Queries<'_>, which: Awaited, besides: Option<&str>) -> Result<u64> {
        let project = self.project();
        let there = match which {
            Awaited::Staging => catalog.staging_used(project)?,
            Awaited::All | Awaited::Stores => catalog.storage_used(project)?,
        };
        Ok(there.saturating_add(catalog.storage_awaited(project, which, besides)?))
    }

    fn check(&self, catalog: &Queries<'_>, resource: Resource, delta: u64) -> Result<()> {
        let Rule::Unified(figures) = &self.rule else { return Ok(()) };
        // Negative: no limit.
        let Ok(limit) = u64::try_from(figures.get(resource).unwrap_or(0)) else { return Ok(()) };
        let current = match resource {
            Resource::SizeTotal => self.stored(catalog, Awaited::Stores, None)? >> MIB_BITS,
            Resource::StageTotal => self.stored(catalog, Awaited::Staging, None)? >> MIB_BITS,
            Resource::CountTotal | Resource::CountUploading => self.used(catalog, resource)?,
        };
        if current.saturating_add(delta) <= limit {
            Ok(())
        } else {
            Err(self.over_limit(resource, limit, current, delta))
        }
    }

    fn outgrown(&self, resource: Resource, within: u64, used: u64, size: u64) -> Error {
        let (current, all) = (used >> MIB_BITS, used.saturating_add(size) >> MIB_BITS);
        self.over_limit(resource, within >> MIB_BITS, current, all - current)
    }

    /// In Glance's words.
    fn over_limit(&self, resource: Resource, limit: u64, current: u64, delta: u64) -> Error {
        let (project, resource) = (self.project().unwrap_or("None"), resource.as_str());
        Error::new(
            Kind::TooLarge,
            format!(
                "The request returned a 413 Request Entity Too Large. This generally means that rate limiting or a quota \
                 threshold was breached.\n\nThe response body:\nProject {project} is over a limit for [Resource {resource} \
                 is over limit of {limit} due to current usage {current} and delta {delta}]"
            ),
        )
    }
}

/// The most bytes whose whole MiB are not above `limit`.
fn bytes_within(limit: u64) -> u64 {
    limit.saturating_add(1).saturating_mul(1 << MIB_BITS) - 1
}

/// In Glance's words.
fn over_quota(what: &str, size: Option<u64>, quota: u64, used: u64) -> Error {
    let left = i128::from(quota) - i128::from(used);
    let size = size.map_or_else(|| "None".to_owned(), |size| size.to_string());
    let text = format!("The size of the data {size} will exceed the limit. {left} bytes remaining.");
    Error::new(Kind::TooLarge, format!("{what}: {text}"))
}
