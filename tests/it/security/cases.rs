//! Inputs and what must come of them, however they arrive.
//!
//! `VITRINE_SPLIT_STEP` (1): every so-manieth cut of an input is tried.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::assert_no_panic;
use super::sockets::play;
use super::transcript::{Answer, End, Transcript};
use crate::harness::client::find;
use crate::harness::{Server, eventually, number_from_env};

/// What must come of an input.
#[derive(Debug, Clone, Copy)]
pub(super) enum Want {
    /// One answer with one of these statuses, which says that the connection closes, and then its end.
    Refused(&'static [u16]),
    /// An answer with one of these statuses. What follows on the connection is answered as itself, or the answer said
    /// that the connection closes.
    Answered(&'static [u16]),
    /// The same, after one `100 Continue`.
    Continued(&'static [u16]),
    /// An answer with one of these statuses, then one refusal with 400 of what was no body but is no request either.
    Trailed(&'static [u16]),
    /// No answer at all: the input ends in the middle of something. Or a refusal with one of these statuses.
    Cut(&'static [u16]),
}
pub(super) use Want::{Answered, Continued, Cut, Refused, Trailed};

/// The statuses that say: this is not HTTP as we speak it.
pub(super) const BAD: &[u16] = &[400];

/// Where a case names this image, each of its exchanges has a queued image of its own.
pub(super) const IMAGE: &str = "ffffffff-ffff-4fff-bfff-ffffffffffff";

/// One input.
pub(super) struct Case {
    name: String,
    bytes: Vec<u8>,
    want: Want,
}

pub(super) fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, want: Want) -> Case {
    Case { name: name.into(), bytes: bytes.into(), want }
}

/// A request whose head is `first`, `Host` and `lines`.
pub(super) fn request(first: &str, lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{first}\r\nHost: localhost\r\n");
    for line in lines {
        text += line;
        text += "\r\n";
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A change of an image that is not there, with these headers and this body. A body that is `[]`, a change of nothing, is
/// answered with 404, anything else with 400; nothing is written.
pub(super) fn patch(lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut all = vec!["Content-Type: application/openstack-images-v2.1-json-patch"];
    all.extend_from_slice(lines);
    request("PATCH /v2/images/00000000-0000-4000-8000-000000000000 HTTP/1.1", &all, body)
}

/// A cheap request that control answers, always alike.
pub(super) const GET: &str = "GET /v2/images?name=none HTTP/1.1";

/// A clean request after the input, whose answer nothing else has.
const FOLLOW_UP: &[u8] = b"GET /versions HTTP/1.1\r\nHost: follow-up\r\n\r\n";

/// Inputs up to this length are cut at every byte, and sent a byte at a time.
const CUT_EVERYWHERE: usize = 1500;

/// Cuts of the heads of uploads that succeed.
const HEAD_STEP_OF_UPLOADS: usize = 40;

/// How many cuts a longer one gets, beside those near its ends.
const CUTS_OF_LONG_INPUTS: usize = 40;

/// Cases that are tried at the same time.
const WORKERS: usize = 4;

/// Exchanges of one case that run at the same time.
const BATCH: usize = 128;

/// Queued images that exchanges use one after the other.
struct Images(Mutex<Vec<String>>);

impl Images {
    fn take(&self, server: &Server, count: usize) -> Vec<String> {
        let mut pool = self.0.lock().expect("no panic inside");
        let from = pool.len().saturating_sub(count);
        let mut taken = pool.split_off(from);
        drop(pool);
        while taken.len() < count {
            taken.push(server.queued());
        }
        taken
    }

    /// Puts back those that wait for data again; the others are deleted.
    fn give(&self, server: &Server, images: Vec<String>) -> Option<String> {
        let mut fault = None;
        for id in images {
            let settled = eventually(Duration::from_secs(10), || {
                let status = server.show(&id)["status"].as_str().unwrap_or_default().to_owned();
                (status != "saving").then_some(status)
            });
            match settled.as_deref() {
                Some("queued") if server.files_of(&id).is_empty() => {
                    self.0.lock().expect("no panic inside").push(id);
                }
                Some("active") => drop(server.delete(&format!("/v2/images/{id}")).expect(204)),
                other => fault = Some(format!("image {id} is {other:?}, its files {:?}", server.files_of(&id))),
            }
        }
        fault
    }
}

/// Tries every case in every way; all that is wrong is in the panic.
#[track_caller]
pub(super) fn run(server: &Server, cases: &[Case]) {
    let step = usize::try_from(number_from_env("VITRINE_SPLIT_STEP", 1)).expect("small").max(1);
    let plane = server.wait_plane("dataplane");
    let images = Images(Mutex::default());
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fault = try_case(server, case, step, &images).err();
                    if let Some(fault) = fault {
                        faults.lock().expect("no panic inside").insert(case.name.clone(), fault);
                    }
                    server.get("/v2/images?limit=1").expect(200);
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no panic inside");
    let lines: Vec<String> = faults.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
    assert!(lines.is_empty(), "{} of {} cases:\n{}", lines.len(), cases.len(), lines.join("\n"));
    assert_eq!(server.plane("dataplane"), Some(plane), "the data plane was restarted");
    assert_no_panic(server);
}

/// Where an input is cut: not at all, then at each of these places.
fn cuts(case: &Case, step: usize) -> Vec<Option<usize>> {
    let length = case.bytes.len();
    let mut cuts = vec![None];
    // Every upload that succeeds is a file that is made durable, and the heads of all are alike.
    let stores = matches!(case.want, Answered([204]) | Continued([204]));
    let head = find(&case.bytes, b"\r\n\r\n").filter(|_| stores).unwrap_or(0);
    cuts.extend((1..head).step_by(step * HEAD_STEP_OF_UPLOADS).map(Some));
    let rest = length - head;
    let everywhere = if stores { CUT_EVERYWHERE / HEAD_STEP_OF_UPLOADS } else { CUT_EVERYWHERE };
    if rest <= everywhere {
        cuts.extend((head.max(1)..=length).step_by(step).map(Some));
    } else {
        let near = (head.max(1)..head + 20).chain(length - 20..=length);
        let far = (head + 20..length - 20).step_by((rest / CUTS_OF_LONG_INPUTS).max(1));
        cuts.extend(near.chain(far).step_by(step).map(Some));
    }
    cuts
}

fn try_case(server: &Server, case: &Case, step: usize, images: &Images) -> Result<(), String> {
    let mut first: Option<Transcript> = None;
    let mut judge = |way: &str, (bytes, end): (Vec<u8>, End)| -> Result<(), String> {
        let transcript = examine(server, case, &bytes, end).map_err(|fault| format!("{way}: {fault}"))?;
        match &first {
            None => first = Some(transcript),
            Some(first) if *first == transcript => {}
            Some(first) => return Err(format!("{way}: {transcript:?}\n  but whole: {first:?}")),
        }
        Ok(())
    };
    for batch in cuts(case, step).chunks(BATCH) {
        let (inputs, used) = inputs(server, case, images, batch.len());
        let scripts: Vec<Vec<&[u8]>> =
            inputs.iter().zip(batch).map(|(input, cut)| cut.map_or(vec![&input[..]], |at| two(input, at))).collect();
        let outcomes = play(server.address, &scripts);
        for (cut, outcome) in batch.iter().zip(outcomes) {
            judge(&cut.map_or("whole".to_owned(), |at| format!("cut at {at}")), outcome)?;
        }
        images.give(server, used).map_or(Ok(()), Err)?;
    }
    if case.bytes.len() <= CUT_EVERYWHERE {
        let (inputs, used) = inputs(server, case, images, 1);
        let script = inputs[0].chunks(1).collect();
        judge("by bytes", play(server.address, &[script]).remove(0))?;
        images.give(server, used).map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn two(input: &[u8], at: usize) -> Vec<&[u8]> {
    let (first, second) = input.split_at(at);
    vec![first, second]
}

/// The case's bytes `count` times, each with an image of its own where it names one, and the images.
fn inputs(server: &Server, case: &Case, images: &Images, count: usize) -> (Vec<Vec<u8>>, Vec<String>) {
    let place = find(&case.bytes, IMAGE.as_bytes());
    let used = place.map_or_else(Vec::new, |_| images.take(server, count));
    let follow_up: &[u8] = if matches!(case.want, Cut(_)) { b"" } else { FOLLOW_UP };
    let inputs = (0..count).map(|index| {
        let mut bytes = case.bytes.clone();
        if let (Some(at), Some(id)) = (place, used.get(index)) {
            bytes[at..at + IMAGE.len()].copy_from_slice(id.as_bytes());
        }
        bytes.extend_from_slice(follow_up);
        bytes
    });
    (inputs.collect(), used)
}

/// The transcript, if it is what the case wants.
fn examine(server: &Server, case: &Case, bytes: &[u8], end: End) -> Result<Transcript, String> {
    for secret in [&server.data_dir().to_string_lossy(), "sqlite", "panicked", ".sock", "/rustc/", ".rs:"] {
        if find(bytes, secret.as_bytes()).is_some() {
            return Err(format!("{secret:?} stands in {:?}", String::from_utf8_lossy(bytes)));
        }
    }
    let method = if case.bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let transcript = Transcript::read(bytes, end, &[method])?;
    let fault = |what: &str| Err(format!("{what}: {transcript:?}"));
    if transcript.end != End::Closed {
        return fault("the connection was not closed in order");
    }
    let (statuses, continued) = match case.want {
        Refused(statuses) | Answered(statuses) | Trailed(statuses) | Cut(statuses) => (statuses, 0),
        Continued(statuses) => (statuses, 1),
    };
    if transcript.continued != continued {
        return fault("100 Continue where none is due, or none where one is");
    }
    let [first, rest @ ..] = &transcript.answers[..] else {
        return if matches!(case.want, Cut(_)) { Ok(transcript) } else { fault("no answer") };
    };
    if !statuses.contains(&first.status) {
        return fault(&format!("expected one of {statuses:?}"));
    }
    match (case.want, rest) {
        (Trailed(_), [next]) if next.status == 400 && next.closes() => {}
        (Refused(_) | Answered(_) | Continued(_) | Cut(_), []) if first.closes() => {}
        (Answered(_) | Continued(_), [next]) if is_follow_up(next) && !first.closes() => {}
        _ => return fault("what follows is not what must"),
    }
    Ok(transcript.settled())
}

fn is_follow_up(answer: &Answer) -> bool {
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.status == 200 && document["versions"].is_array() && answer.text().contains("//follow-up")
}
