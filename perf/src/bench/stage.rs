//! What a load needs on its endpoint: images to download, contents to upload, and the list of what must go again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::api::{self, PREFIX, PROPERTY};
use super::fault::{Fault, Outcome};
use super::mix::{Action, Mix};
use super::pattern::Pattern;
use super::place::Place;
use super::truth::{BlocksMaker, Truth};
use super::wire::Wire;
use crate::error::{Error, Result};
use crate::payload::{Digester, Digests};

/// Bytes of contents whose digests are computed before a run that uploads: bounds the time before the start.
const DIGESTED_MAX: u64 = 1 << 30;
/// Most different contents of one size.
const CONTENTS_MAX: u64 = 8;
/// A multiple of every number up to [`CONTENTS_MAX`].
const SHARE: u64 = 840;
/// Images that `show` asks for.
const SHOWN: usize = 16;
/// Images that a page of a list has at most.
pub(super) const PAGE: usize = 25;
/// Most threads that delete at the end.
pub(super) const CLEANERS: usize = 4;
/// How often a deletion is tried while the service says that it is not the moment: for 6 s in all, in which even a busy one has made what
/// it was asked for.
const ATTEMPTS: u32 = 7;

/// What a run is about.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Id of the run, in the names of its images.
    pub run: String,
    /// Its actions.
    pub mix: Mix,
    /// Sizes of images in bytes, with their weights.
    pub sizes: Vec<(u64, u64)>,
    /// How many images of each size are downloaded.
    pub images: u64,
    /// Images that are there already, to download instead.
    pub foreign: Vec<String>,
    /// Download random ranges of this many bytes instead of whole images.
    pub range: Option<u64>,
    /// Whether bytes are compared.
    pub verify: bool,
    /// Requests at a time.
    pub workers: usize,
    /// The data of this run.
    pub pattern: Pattern,
}

impl Plan {
    /// Bytes that the run stores at most at a time, on one endpoint.
    #[must_use]
    pub fn stored_max(&self) -> u64 {
        let pulled: u64 = if self.mix.has(Action::Pull) && self.foreign.is_empty() {
            self.sizes.iter().map(|(size, _)| size.saturating_mul(self.images)).fold(0, u64::saturating_add)
        } else {
            0
        };
        let largest = self.sizes.iter().map(|(size, _)| *size).max().unwrap_or(0);
        let pushed = if self.mix.has(Action::Push) { largest.saturating_mul(self.workers as u64) } else { 0 };
        pulled.saturating_add(pushed)
    }
}

/// An image to download.
#[derive(Debug, Clone)]
pub struct Source {
    /// UUID.
    pub id: String,
    /// Size in bytes.
    pub size: u64,
    /// What is known of its bytes.
    pub truth: Truth,
    /// Share of the downloads.
    pub weight: u64,
}

/// Data to upload.
#[derive(Debug, Clone)]
pub struct Content {
    /// Size in bytes.
    pub size: u64,
    /// Key of the pattern.
    pub key: u64,
    /// What the service must say of it, if that is checked.
    pub digests: Option<Digests>,
    /// Share of the uploads.
    pub weight: u64,
}

/// An endpoint prepared for a load. Whatever was made there is deleted when this goes.
#[derive(Debug)]
pub struct Stage {
    /// The service.
    pub place: Place,
    /// What is done with it.
    pub plan: Arc<Plan>,
    /// What is downloaded.
    pub sources: Vec<Source>,
    /// What is uploaded.
    pub contents: Arc<Vec<Content>>,
    /// Images that `show` asks for.
    pub shown: Vec<String>,
    /// Images that must go again, and whether the service has said that they are there.
    made: Mutex<BTreeMap<String, bool>>,
}

impl Stage {
    /// An endpoint on which nothing was made yet.
    #[must_use]
    pub fn new(place: Place, plan: Arc<Plan>, contents: Arc<Vec<Content>>) -> Self {
        Self { place, plan, sources: Vec::new(), contents, shown: Vec::new(), made: Mutex::default() }
    }

    /// Makes what the load needs. `say` is told what takes long.
    ///
    /// # Errors
    /// The service is away, refuses, or has not kept what it got.
    pub fn prepare(&mut self, stop: &Arc<AtomicBool>, say: &mut dyn FnMut(&str)) -> Result<()> {
        let mut wire = self.place.wire(stop, &Arc::default());
        let url = self.place.target.url.to_string();
        let at = |fault: Fault| match fault {
            Fault::Wrong(_) | Fault::Stopped => Error::from(fault),
            Fault::Status(401, text) => Error::Setup(format!("{url} refuses the request (401): {text}")),
            other => Error::Setup(format!("{url}: {other}")),
        };
        // The first question, so that a service that is away or refuses is told before anything is made.
        api::list(&self.place.session, &mut wire, "/v2/images?limit=1").map_err(at)?;
        let plan = self.plan.clone();
        if plan.mix.has(Action::Pull) {
            for id in &plan.foreign {
                say(&format!("reading image {id} once"));
                let source = self.adopt(&mut wire, id).map_err(at)?;
                self.sources.push(source);
            }
            if plan.foreign.is_empty() {
                self.make_sources(&mut wire, say).map_err(at)?;
            }
        }
        if [Action::Show, Action::List, Action::Patch].into_iter().any(|action| plan.mix.has(action)) {
            say(&format!("making {SHOWN} images without data"));
            for _ in 0..SHOWN {
                let id = self.create(&mut wire).map_err(at)?;
                self.shown.push(id);
            }
        }
        Ok(())
    }

    fn make_sources(&mut self, wire: &mut Wire, say: &mut dyn FnMut(&str)) -> Outcome<()> {
        let plan = self.plan.clone();
        let mut data = plan.pattern.writer();
        let all = plan.sizes.iter().flat_map(|size| (0..plan.images).map(move |_| *size));
        for ((size, weight), number) in all.zip(0_u64..) {
            say(&format!("uploading image {} of {}", number + 1, plan.images * plan.sizes.len() as u64));
            let id = self.create(wire)?;
            data.key = plan.pattern.key(number);
            api::upload(&self.place.session, wire, &id, size, &mut data)?;
            let image = api::show(&self.place.session, wire, &id)?;
            api::verify(&image, size, None)?;
            let truth = if plan.verify { Truth::Pattern { key: data.key } } else { Truth::Unknown };
            self.sources.push(Source { id, size, truth, weight });
        }
        Ok(())
    }

    /// Takes an image of others: if bytes are compared, reads it whole once and compares its digests.
    fn adopt(&self, wire: &mut Wire, id: &str) -> Outcome<Source> {
        let session = &self.place.session;
        let image = api::show(session, wire, id)?;
        let size = image.size.filter(|size| *size > 0 && image.status == "active");
        let size = size.ok_or_else(|| Fault::Protocol(format!("image {id} is {} and has no data", image.status)))?;
        if !self.plan.verify {
            return Ok(Source { id: id.to_owned(), size, truth: Truth::Unknown, weight: 1 });
        }
        let path = format!("/v2/images/{id}/file");
        let head = api::with_token(session, wire, &[], |wire, headers| wire.request("GET", &path, headers, None))?;
        if head.status != 200 {
            return Err(api::expect(wire, &head, &[200]).err().unwrap_or(Fault::Stopped));
        }
        let (mut digester, mut blocks) = (Digester::new(), BlocksMaker::default());
        let got = wire.data(&head, |piece| {
            digester.update(piece);
            blocks.update(piece);
            Ok(())
        })?;
        if got != size {
            return Err(Fault::Wrong(format!("image {id} has {got} bytes, its metadata says {size}")));
        }
        api::verify(&image, size, Some(&digester.finish()))?;
        Ok(Source { id: id.to_owned(), size, truth: Truth::Blocks(Arc::new(blocks.finish())), weight: 1 })
    }

    /// Creates an image without data. It is on the list of what must go before the service hears of it.
    pub(super) fn create(&self, wire: &mut Wire) -> Outcome<String> {
        let id = uuid::Uuid::new_v4().to_string();
        self.made().insert(id.clone(), false);
        let name = format!("{PREFIX}{}-{}", self.plan.run, &id[..8]);
        api::create(&self.place.session, wire, &id, &name, &self.plan.run)?;
        self.made().insert(id.clone(), true);
        Ok(id)
    }

    /// Deletes an image of the list.
    pub(super) fn delete(&self, wire: &mut Wire, id: &str) -> Outcome<()> {
        api::delete(&self.place.session, wire, id, false)?;
        self.made().remove(id);
        Ok(())
    }

    fn made(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, bool>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes all that was made, whatever has become of it. Returns how many images were deleted and which are left,
    /// with the reason.
    #[must_use]
    pub fn clean_up(&self, stop: &Arc<AtomicBool>) -> (usize, Vec<(String, String)>) {
        let ids: Vec<(String, bool)> = std::mem::take(&mut *self.made()).into_iter().collect();
        let (deleted, left) = delete_all(&self.place, ids, self.plan.workers, stop);
        self.made().extend(left.iter().map(|(id, _)| (id.clone(), true)));
        (deleted, left)
    }
}

impl Drop for Stage {
    /// The last resort of a run that ends by a panic.
    fn drop(&mut self) {
        if !self.made().is_empty() && thread::panicking() {
            let _ = self.clean_up(&Arc::default());
        }
    }
}

/// Deletes images on a few connections, `most` at most; each comes with whether it is known to be there. Returns how many went and which
/// are left, with the reason.
pub(super) fn delete_all(
    place: &Place,
    ids: Vec<(String, bool)>,
    most: usize,
    stop: &Arc<AtomicBool>,
) -> (usize, Vec<(String, String)>) {
    let workers = ids.len().min(most).min(CLEANERS);
    let total = ids.len();
    let queue = Mutex::new(ids.into_iter());
    let left = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut wire = place.wire(stop, &Arc::default());
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((id, known)) = next else { return };
                    if let Err(fault) = delete_patiently(place, &mut wire, &id, known, stop) {
                        left.lock().unwrap_or_else(PoisonError::into_inner).push((id, fault.to_string()));
                    }
                }
            });
        }
    });
    let left = left.into_inner().unwrap_or_else(PoisonError::into_inner);
    (total - left.len(), left)
}

/// Deletes one image; a service that says "not now" is asked again. So is one that does not know an image whose creation
/// was cut off: it may be making it at this moment.
fn delete_patiently(place: &Place, wire: &mut Wire, id: &str, known: bool, stop: &Arc<AtomicBool>) -> Outcome<()> {
    let mut pause = Duration::from_millis(100);
    for _ in 1..ATTEMPTS {
        match api::delete(&place.session, wire, id, known) {
            Err(Fault::Status(404 | 409 | 429 | 500..=599, _) | Fault::Closed(_)) if !stop.load(Ordering::Relaxed) => {
                thread::sleep(pause);
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
    api::delete(&place.session, wire, id, true)
}

/// The contents that a plan uploads, with their digests if those are compared: several of each size, so that a service
/// that mixes up two uploads is found out.
#[must_use]
pub fn contents(plan: &Plan) -> Vec<Content> {
    if !plan.mix.has(Action::Push) {
        return Vec::new();
    }
    let share = DIGESTED_MAX / plan.sizes.len().max(1) as u64;
    let mut all = Vec::new();
    for (size, weight) in &plan.sizes {
        let most = CONTENTS_MAX.min(plan.workers as u64).max(1);
        let count = if plan.verify { (share / size).clamp(1, most) } else { 1 };
        for _ in 0..count {
            // Keys apart from those of images to download.
            let key = plan.pattern.key((1 << 32) + all.len() as u64);
            // Scaled, so that each size keeps its share whatever the number of its contents.
            all.push(Content { size: *size, key, digests: None, weight: weight * SHARE / count });
        }
    }
    if plan.verify {
        let queue = Mutex::new(all.iter_mut());
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(content) = next else { return };
                        content.digests = Some(plan.pattern.digests(content.key, content.size));
                    }
                });
            }
        });
    }
    all
}

/// Images that earlier runs have left: ids and names. Only what has both the property and the name of this tool.
///
/// # Errors
/// The service does not list them.
pub fn leftovers(place: &Place, run: Option<&str>, stop: &Arc<AtomicBool>) -> Result<Vec<(String, String)>> {
    let mut wire = place.wire(stop, &Arc::default());
    let mut found = Vec::new();
    let filter = run.map(|run| format!("&{PROPERTY}={run}")).unwrap_or_default();
    let mut next = Some(format!("/v2/images?limit=100{filter}"));
    while let Some(path) = next {
        let page = api::list(&place.session, &mut wire, &path)
            .map_err(|fault| Error::Setup(format!("{}: {fault}", place.target.url)))?;
        for image in page.images {
            let ours = image.vitrine_bench.as_deref().filter(|made_by| run.is_none_or(|run| run == *made_by));
            if let (Some(_), Some(name)) = (ours, image.name)
                && name.starts_with(PREFIX)
            {
                found.push((image.id, name));
            }
        }
        next = page.next.filter(|next| next.starts_with('/'));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mix: &str, sizes: &[(u64, u64)], workers: usize) -> Plan {
        Plan {
            run: "r".into(),
            mix: Mix::parse(mix).expect("a mix"),
            sizes: sizes.to_vec(),
            images: 2,
            foreign: Vec::new(),
            range: None,
            verify: true,
            workers,
            pattern: Pattern::new(1),
        }
    }

    #[test]
    fn what_is_stored_is_bounded_and_told() {
        assert_eq!(plan("pull=1", &[(10, 1), (30, 1)], 8).stored_max(), 80);
        assert_eq!(plan("push=1", &[(10, 1), (30, 1)], 8).stored_max(), 240);
        assert_eq!(plan("pull=1,push=1", &[(10, 1)], 8).stored_max(), 100);
        assert_eq!(plan("metadata=1", &[(10, 1)], 8).stored_max(), 0);
        let foreign = Plan { foreign: vec!["i".into()], ..plan("pull=1", &[(10, 1)], 8) };
        assert_eq!(foreign.stored_max(), 0);
    }

    #[test]
    fn contents_differ_and_keep_the_shares_of_their_sizes() {
        let plan = plan("push=1", &[(1 << 20, 3), (300 << 20, 1)], 4);
        // Without digests: the sizes are what matters here.
        let contents = contents(&Plan { verify: false, ..plan.clone() });
        assert_eq!(contents.len(), 2);
        let small = super::contents(&Plan { sizes: vec![(100, 3), (200, 1)], ..plan });
        assert_eq!(small.len(), 8);
        let weight = |size| small.iter().filter(|each| each.size == size).map(|each| each.weight).sum::<u64>();
        assert_eq!(weight(100), 3 * weight(200));
        let keys: std::collections::BTreeSet<u64> = small.iter().map(|content| content.key).collect();
        assert_eq!(keys.len(), 8);
        assert!(small.iter().all(|content| content.digests.is_some()));
    }
}
