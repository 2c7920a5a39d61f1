//! One import, from its request to its end, and what must hold all the time and then.

use std::fs;

use serde_json::{Value, json};

use super::PATIENCE;
use super::scenario::{Method, Scenario, good, stage};
use super::site::{STORES, Site};
use crate::harness::eventually;

/// An import of one image.
pub(super) struct Attempt {
    pub(super) scenario: Scenario,
    pub(super) id: String,
    url: String,
    /// Whether the server has promised to do it.
    pub(super) is_accepted: bool,
}

/// What an import that is over has left.
#[derive(Debug)]
enum End {
    /// It was never begun.
    Unknown,
    /// Its task, and the image if there is one.
    Over(Value, Option<Value>),
}

impl Attempt {
    pub(super) fn prepare(site: &Site, scenario: Scenario) -> Attempt {
        Attempt { scenario, id: scenario.prepare(site), url: site.url(), is_accepted: false }
    }

    /// The same with data that stops in its middle.
    pub(super) fn prepare_held(site: &Site, scenario: Scenario) -> Attempt {
        let attempt = Attempt::prepare(site, scenario);
        Attempt { url: site.held_url(&attempt.id), ..attempt }
    }

    /// The same with data to which a redirect leads that is held.
    pub(super) fn prepare_redirected(site: &Site, scenario: Scenario) -> Attempt {
        let attempt = Attempt::prepare(site, scenario);
        Attempt { url: site.held_redirect(&attempt.id), ..attempt }
    }

    /// Asks for it, of a server that may die meanwhile.
    pub(super) fn ask(&mut self, site: &Site) {
        let (path, body) = self.scenario.request(&self.id, &self.url);
        let headers = [("Content-Type", "application/json")];
        let reply = site.server.try_request("POST", &path, &headers, Some(body.to_string().as_bytes()));
        if let Some(reply) = reply {
            assert!(matches!(reply.status, 201 | 202), "{}: {}", reply.status, reply.text());
            self.is_accepted = true;
        }
    }

    /// It is in the middle of its data: each store has a part of it, none shows it.
    #[track_caller]
    pub(super) fn assert_under_way(&self, site: &Site) {
        let image = site.server.show(&self.id);
        let wanted = self.scenario.wanted();
        assert_eq!((&image["status"], stores_of(&image)), (&json!("importing"), Vec::new()), "{image}");
        if self.scenario.method != Method::Task {
            assert_eq!(image["os_glance_importing_to_stores"], json!(wanted.join(",")), "{image}");
        }
        let begun = |store: &&str| {
            let parts = site.files_of(&self.id);
            parts.iter().any(|file| file.starts_with(&format!("{store}/.{}", self.id)))
        };
        let all = eventually(PATIENCE, || wanted.iter().all(begun).then_some(()));
        assert!(all.is_some(), "{:?}", site.files_of(&self.id));
        let task = self.task(site).expect("an answer").expect("a task");
        assert!(matches!(task["status"].as_str(), Some("pending" | "processing")), "{task}");
    }

    /// Sees it to its end, whatever has died; asks again for what was not promised and is not done.
    #[track_caller]
    pub(super) fn settle(&mut self, site: &mut Site, context: &dyn std::fmt::Display) {
        let (task, image) = match self.wait(site, context) {
            End::Over(task, image) => (task, image),
            End::Unknown => {
                assert!(!self.is_accepted, "{context}: it was promised\n{}", site.server.log());
                self.ask(site);
                match self.wait(site, context) {
                    End::Over(task, image) => (task, image),
                    End::Unknown => panic!("{context}: it cannot be begun\n{}", site.server.log()),
                }
            }
        };
        self.check(site, &task, image.as_ref(), context);
    }

    #[track_caller]
    fn wait(&self, site: &mut Site, context: &dyn std::fmt::Display) -> End {
        let mut last = String::new();
        let end = eventually(PATIENCE, || {
            site.revive();
            self.look(site).map_err(|why| last = why).ok()
        });
        end.unwrap_or_else(|| panic!("{context}: {} does not end: {last}\n{}", self.id, site.server.log()))
    }

    /// Whether it is over and nothing is left of it that does not belong to the image; else what is.
    fn look(&self, site: &Site) -> Result<End, String> {
        self.image(site)?;
        let Some(task) = self.task(site)? else {
            let unfinished = site.unfinished(&self.id).map_err(|error| error.to_string())?;
            return if unfinished.is_empty() { Ok(End::Unknown) } else { Err(format!("{unfinished:?}")) };
        };
        if !matches!(task["status"].as_str(), Some("success" | "failure")) {
            return Err(task.to_string());
        }
        let unfinished = site.unfinished(&self.id).map_err(|error| error.to_string())?;
        if !unfinished.is_empty() {
            return Err(format!("{unfinished:?}"));
        }
        // Again: it may have changed before the task was over.
        let image = self.image(site)?;
        let (files, expected) = (site.files_of(&self.id), expected_files(image.as_ref()));
        if files != expected {
            return Err(format!("files {files:?} in place of {expected:?}"));
        }
        Ok(End::Over(task, image))
    }

    /// The image, if there is one.
    fn image(&self, site: &Site) -> Result<Option<Value>, String> {
        let path = format!("/v2/images/{}", self.id);
        let reply = site.server.try_request("GET", &path, &[], None).ok_or("no answer")?;
        let image = match (reply.status, self.scenario.method) {
            (200, _) => Some(reply.json()),
            (404, Method::Task) => None,
            (status, _) => return Err(format!("status {status}")),
        };
        self.check_visible(site, image.as_ref());
        Ok(image)
    }

    /// Its task, if there is one: the last about the image, and of the tasks API the one that names it.
    fn task(&self, site: &Site) -> Result<Option<Value>, String> {
        let get = |path: &str| {
            let reply = site.server.try_request("GET", path, &[], None).ok_or("no answer")?;
            if reply.status == 200 { Ok(reply.json()) } else { Err(format!("{path}: {}", reply.status)) }
        };
        if self.scenario.method != Method::Task {
            let tasks = get(&format!("/v2/images/{}/tasks", self.id))?;
            return Ok(tasks["tasks"].as_array().and_then(|tasks| tasks.last()).cloned());
        }
        let tasks = get("/v2/tasks?type=import&limit=10")?;
        for task in tasks["tasks"].as_array().into_iter().flatten() {
            let task = get(task["self"].as_str().unwrap_or_default())?;
            if task["input"]["image_properties"]["id"] == json!(self.id) {
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// What must hold at every moment: nothing half-written is seen, and an image that is copied stays active.
    fn check_visible(&self, site: &Site, image: Option<&Value>) {
        let image = image.unwrap_or(&Value::Null);
        if self.scenario.method == Method::Copy {
            assert_eq!(image["status"], json!("active"), "{image}");
            assert!(stores_of(image).contains(&"fast"), "{image}");
            let reply = site.server.try_request("GET", &format!("/v2/images/{}/file", self.id), &[], None);
            assert!(reply.is_none_or(|reply| reply.status == 200 && reply.body == *site.data), "{image}");
        }
        for store in STORES {
            match fs::read(site.file(store, &self.id)) {
                Ok(data) => assert!(data == *site.data, "half an image in {store}: {} bytes, {image}", data.len()),
                Err(_) => assert!(!stores_of(image).contains(&store), "no file in {store}: {image}"),
            }
        }
    }

    /// What must hold at the end: image, task and lists agree about what was done.
    #[track_caller]
    fn check(&self, site: &Site, task: &Value, image: Option<&Value>, context: &dyn std::fmt::Display) {
        let scenario = &self.scenario;
        let told = format!("{context}: {task} {image:?}\n{}", site.server.log());
        let status = if scenario.fails() { "failure" } else { "success" };
        assert_eq!(task["status"], json!(status), "{told}");
        let message = task["message"].as_str().unwrap_or_default();
        match (scenario.fails(), scenario.method) {
            (true, _) => assert!(!message.is_empty() && !message.starts_with("Copied"), "{told}"),
            (false, Method::Task) => assert_eq!(message, "", "{told}"),
            (false, _) => assert_eq!(message, format!("Copied {} MiB", site.data.len() >> 20), "{told}"),
        }
        if !scenario.fails() {
            assert_eq!(task["result"], json!({"image_id": self.id}), "{told}");
        }
        let Some(image) = image else {
            assert!(scenario.fails() && scenario.method == Method::Task, "{told}");
            return;
        };
        let filled = scenario.filled();
        let status = if filled.is_empty() { "queued" } else { "active" };
        assert_eq!(image["status"], json!(status), "{told}");
        assert_eq!(stores_of(image), filled, "{told}");
        if scenario.method != Method::Task {
            assert_eq!(image["os_glance_importing_to_stores"], json!(""), "{told}");
            assert_eq!(image["os_glance_failed_import"], json!(scenario.failed()), "{told}");
        }
        self.check_data(site, &filled);
    }

    /// The image gives its data from each of these stores.
    #[track_caller]
    fn check_data(&self, site: &Site, stores: &[&str]) {
        for store in stores {
            let path = format!("/v2/images/{}/file?prefer={store}", self.id);
            assert!(site.server.get(&path).expect(200).body == *site.data, "{store}");
        }
    }

    /// Goes on with the image, as if nothing had happened: another import brings it into all stores. Then it is deleted.
    #[track_caller]
    pub(super) fn go_on(&self, site: &mut Site, context: &dyn std::fmt::Display) {
        let _ = fs::remove_file(site.mark("slow", &self.id));
        let path = format!("/v2/images/{}", self.id);
        let mut next =
            Attempt { scenario: good(Method::Copy, &[]), id: self.id.clone(), url: site.url(), is_accepted: false };
        match self.scenario.filled()[..] {
            [] if self.scenario.method == Method::Task => next.scenario = good(Method::Task, &[]),
            [] => {
                let raw = json!([{"op": "replace", "path": "/disk_format", "value": "raw"}]);
                site.server.patch(&path, &raw).expect(200);
                next.scenario = good(self.scenario.method, &[]);
                if next.scenario.method == Method::Direct {
                    stage(site, &self.id);
                }
            }
            _ if self.scenario.filled() == STORES => {
                site.server.delete(&format!("/v2/stores/slow/{}", self.id)).expect(204);
                let gone = eventually(PATIENCE, || (!site.file("slow", &self.id).exists()).then_some(()));
                assert!(gone.is_some(), "{context}: {}", site.server.log());
                next.scenario = good(Method::Copy, &["slow"]);
            }
            _ => {}
        }
        if next.scenario.method == Method::Task {
            // The image is gone, and its id with it.
            next.id = next.scenario.prepare(site);
        }
        next.ask(site);
        next.run_to_all(site, context);
        site.server.delete(&format!("/v2/images/{}", next.id)).expect(204);
        let is_gone = || {
            let left = site.files_of(&next.id).is_empty() && site.files_of(&self.id).is_empty();
            (left && site.unfinished(&next.id).is_ok_and(|unfinished| unfinished.is_empty())).then_some(())
        };
        let gone = eventually(PATIENCE, is_gone);
        assert!(gone.is_some(), "{context}: {:?}\n{}", site.files_of(&self.id), site.server.log());
    }

    #[track_caller]
    fn run_to_all(&self, site: &mut Site, context: &dyn std::fmt::Display) {
        let End::Over(task, image) = self.wait(site, context) else { panic!("{context}: {}", site.server.log()) };
        let image = image.unwrap_or_else(|| panic!("{context}: {task}\n{}", site.server.log()));
        assert_eq!(task["status"], json!("success"), "{context}: {task}\n{}", site.server.log());
        let all = if self.scenario.method == Method::Task { vec!["fast"] } else { STORES.to_vec() };
        assert_eq!(stores_of(&image), all, "{context}: {image}\n{}", site.server.log());
        self.check_data(site, &all);
    }
}

/// The stores that an image is in.
fn stores_of(image: &Value) -> Vec<&str> {
    let mut stores: Vec<&str> = image["stores"].as_str().unwrap_or_default().split(',').collect();
    stores.retain(|store| !store.is_empty());
    stores.sort_unstable();
    stores
}

/// The files that belong to an image.
fn expected_files(image: Option<&Value>) -> Vec<String> {
    let Some(image) = image else { return Vec::new() };
    let id = image["id"].as_str().unwrap_or_default();
    stores_of(image).iter().map(|store| format!("{store}/{id}")).collect()
}
