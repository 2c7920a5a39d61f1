//! What one worker does: an action of the mix for each arrival, on connections of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::api;
use super::drive::Work;
use super::fault::{Fault, Outcome};
use super::ledger::{Kind, Ledger};
use super::mix::Action;
use super::pattern::{BLOCK, Writer};
use super::random::Random;
use super::stage::{PAGE, Stage};
use super::truth::{Check, Truth};
use super::wire::Wire;

/// Images without data that one worker keeps at most.
const KEPT_MAX: usize = 16;

/// A worker with its connections.
#[derive(Debug)]
pub struct Worker<'a> {
    number: usize,
    stage: &'a Stage,
    ledger: &'a Ledger,
    wires: Vec<Wire>,
    turn: usize,
    random: Random,
    /// Made when the first upload needs it.
    data: Option<Writer>,
    /// Images without data that this worker has made.
    kept: VecDeque<String>,
}

impl<'a> Worker<'a> {
    /// A worker that takes turns on `connections` connections.
    #[must_use]
    pub fn new(
        number: usize,
        stage: &'a Stage,
        ledger: &'a Ledger,
        connections: usize,
        seed: u64,
        cut: &Arc<AtomicBool>,
    ) -> Self {
        let moved = ledger.moved(number);
        Self {
            number,
            stage,
            ledger,
            wires: (0..connections.max(1)).map(|_| stage.place.wire(cut, &moved)).collect(),
            turn: 0,
            random: Random::new(seed ^ (number as u64).wrapping_mul(0x9E37_79B9)),
            data: None,
            kept: VecDeque::new(),
        }
    }

    /// Counts an outcome; `at` is where its latency counts from.
    fn count<T>(&self, kind: Kind, at: Instant, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.ledger.good(self.number, kind, at.elapsed(), None, 0);
                Some(value)
            }
            Err(fault) => {
                self.ledger.bad(self.number, kind, &fault);
                None
            }
        }
    }

    fn pull(&mut self, intended: Instant) -> bool {
        let number = self.random.weighted(self.stage.sources.iter().map(|source| source.weight));
        let Some(source) = self.stage.sources.get(number) else { return false };
        let range = self.stage.plan.range.map(|length| {
            let length = length.min(source.size);
            let spread = source.size - length + 1;
            let offset = self.random.below(spread);
            // Of images of others whole blocks are known.
            let block = if matches!(source.truth, Truth::Blocks(_)) { BLOCK as u64 } else { 1 };
            (offset / block * block, length)
        });
        let wire = &mut self.wires[self.turn];
        let mut first_byte = None;
        let outcome = (|| {
            let path = format!("/v2/images/{}/file", source.id);
            let text = range.map(|(offset, length)| format!("bytes={offset}-{}", offset + length - 1));
            let headers = text.as_deref().map(|text| ("Range", text));
            let session = &self.stage.place.session;
            let head = api::with_token(session, wire, headers.as_slice(), |wire, headers| {
                wire.request("GET", &path, headers, None)
            })?;
            first_byte = Some(intended.elapsed());
            let (offset, length) = range.unwrap_or((0, source.size));
            let status = if range.is_some() { 206 } else { 200 };
            if head.status != status {
                // An answer of 200 to a range would be the whole image: not read.
                if head.status == 200 {
                    wire.close();
                    return Err(Fault::Status(200, "the whole image instead of a range".into()));
                }
                return Err(api::expect(wire, &head, &[]).err().unwrap_or(Fault::Stopped));
            }
            if range.is_some() {
                let expected = format!("bytes {offset}-{}/{}", offset + length - 1, source.size);
                let found = wire.header("Content-Range");
                if found.as_deref() != Some(&expected) {
                    wire.close();
                    return Err(Fault::Wrong(format!("Content-Range is {found:?} and should be '{expected}'")));
                }
            }
            let got = match source.truth {
                Truth::Unknown => wire.discard(&head)?,
                _ => {
                    let mut check = Check::new(&source.truth, &self.stage.plan.pattern, offset);
                    wire.data(&head, |piece| check.update(piece))?
                }
            };
            if got == length { Ok(got) } else { Err(Fault::Wrong(format!("{got} bytes instead of {length}"))) }
        })();
        match outcome {
            Ok(bytes) => {
                self.ledger.good(self.number, Kind::Pull, intended.elapsed(), first_byte, bytes);
                true
            }
            Err(fault) => {
                let fault = match fault {
                    Fault::Wrong(text) => Fault::Wrong(format!("image {}: {text}", source.id)),
                    other => other,
                };
                self.ledger.bad(self.number, Kind::Pull, &fault);
                false
            }
        }
    }

    fn push(&mut self, intended: Instant) -> bool {
        let stage = self.stage;
        let number = self.random.weighted(stage.contents.iter().map(|content| content.weight));
        let Some(content) = stage.contents.get(number) else { return false };
        let mut data = self.data.take().unwrap_or_else(|| stage.plan.pattern.writer());
        data.key = content.key;
        let at = Instant::now();
        let outcome = stage.create(&mut self.wires[self.turn]);
        let made = self.count(Kind::PushCreate, at, outcome);
        let sent = made.as_ref().and_then(|id| {
            let at = Instant::now();
            let sent = api::upload(&stage.place.session, &mut self.wires[self.turn], id, content.size, &mut data);
            match sent {
                Ok(()) => {
                    self.ledger.good(self.number, Kind::PushUpload, at.elapsed(), None, content.size);
                    self.ledger.good(self.number, Kind::Push, intended.elapsed(), None, content.size);
                    Some(())
                }
                Err(fault) => self.count(Kind::PushUpload, at, Err(fault)),
            }
        });
        self.data = Some(data);
        let Some(id) = made else { return false };
        let mut good = sent.is_some();
        if good && stage.plan.verify {
            let at = Instant::now();
            let shown = api::show(&stage.place.session, &mut self.wires[self.turn], &id)
                .and_then(|image| api::verify(&image, content.size, content.digests.as_ref()));
            good = self.count(Kind::PushShow, at, shown).is_some();
        }
        let at = Instant::now();
        let deleted = stage.delete(&mut self.wires[self.turn], &id);
        self.count(Kind::PushDelete, at, deleted).is_some() && good
    }

    fn metadata(&mut self, action: Action, intended: Instant) -> bool {
        let stage = self.stage;
        let session = &stage.place.session;
        // What cannot be done now is done another time: the mix holds in the long run.
        let action = match action {
            Action::Create if self.kept.len() >= KEPT_MAX => Action::Delete,
            Action::Delete if self.kept.is_empty() => Action::Create,
            other => other,
        };
        let chosen = usize::try_from(self.random.below(stage.shown.len() as u64)).unwrap_or_default();
        let wire = &mut self.wires[self.turn];
        let outcome = match action {
            Action::List => api::list(session, wire, &format!("/v2/images?limit={PAGE}")).map(drop),
            Action::Create => stage.create(wire).map(|id| self.kept.push_back(id)),
            Action::Delete => match self.kept.pop_front() {
                Some(id) => stage.delete(wire, &id),
                None => Ok(()),
            },
            Action::Patch => {
                let Some(id) = self.kept.back().or_else(|| stage.shown.get(chosen)) else { return false };
                // Still a name of this tool, so that `clean` finds it.
                let name = format!("{}{}-{:08x}", api::PREFIX, stage.plan.run, self.random.word() >> 32);
                api::rename(session, wire, id, &name).and_then(|image| {
                    if image.name.as_deref() == Some(&name) {
                        Ok(())
                    } else {
                        Err(Fault::Wrong(format!("image {id}: name is {:?} and should be {name:?}", image.name)))
                    }
                })
            }
            _ => {
                let Some(id) = stage.shown.get(chosen) else { return false };
                api::show(session, wire, id).and_then(|image| {
                    if image.id == *id {
                        Ok(())
                    } else {
                        Err(Fault::Wrong(format!("image {} was shown instead of {id}", image.id)))
                    }
                })
            }
        };
        self.count(action.kind(), intended, outcome).is_some()
    }
}

impl Work for Worker<'_> {
    fn once(&mut self, intended: Instant) -> bool {
        self.turn = (self.turn + 1) % self.wires.len();
        let mix = &self.stage.plan.mix;
        let action = mix.action(self.random.weighted(mix.weights()));
        match action {
            Action::Pull => self.pull(intended),
            Action::Push => self.push(intended),
            other => self.metadata(other, intended),
        }
    }
}
