//! Keystone's unified limits, as `oslo.limit` reads them: the limits of the project, else the registered ones, of the service and
//! the region of our endpoint. What is not registered is not allowed at all.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::config::{Control, LimitsEndpoint, UnifiedLimits};
use common::http::query::write_query;
use common::{Error, Result};
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::wire::{
    EndpointDocument, EndpointsDocument, Figures, LimitsDocument, ModelDocument, Place, RegisteredDocument, Resource,
    ServicesDocument, read,
};
use crate::keystone::{Health, Session, Waiters, away};

/// The only model that `oslo.limit` enforces: each project for itself.
const MODEL: &str = "flat";

/// How long our endpoint and the model are not asked about again.
const PLACE_HOLDS: Duration = Duration::from_mins(5);

/// Projects whose limits are remembered at a time.
const PROJECTS_MAX: usize = 4096;

/// Projects that Keystone can be asked about at a time; each has one turn.
const TURNS_COUNT: usize = 16;

/// The way to the limits.
pub(super) struct Unified {
    session: Session,
    endpoint: LimitsEndpoint,
    /// How long an answer counts.
    keep: Duration,
    /// Longest wait for all that one project needs.
    timeout: Duration,
    health: Health,
    /// Requests that wait for Keystone.
    waiters: Waiters,
    known: Mutex<Known>,
    turns: [tokio::sync::Mutex<()>; TURNS_COUNT],
    hasher: RandomState,
    /// Whether the operator was told of what is not registered.
    told: AtomicBool,
}

#[derive(Default)]
struct Known {
    place: Option<(Place, Instant)>,
    registered: Option<(Figures, Instant)>,
    /// By project, which may be none.
    projects: HashMap<Option<String>, (Figures, Instant)>,
}

impl Unified {
    /// As configured. Asks nothing yet.
    ///
    /// # Errors
    /// A certificate or key file that cannot be used.
    pub(super) fn new(limits: &UnifiedLimits, control: &Control) -> Result<Self> {
        let timeout = control.keystone_timeout.min(control.rpc_timeout);
        Ok(Unified {
            session: Session::new(limits.access.clone(), timeout)?,
            endpoint: limits.endpoint.clone(),
            keep: control.keystone_limits_cache,
            timeout,
            health: Health::default(),
            waiters: Waiters::new(control),
            known: Mutex::default(),
            turns: Default::default(),
            hasher: RandomState::new(),
            told: AtomicBool::new(false),
        })
    }

    /// The limits of `project`; without one, those of all.
    ///
    /// # Errors
    /// 503 while Keystone does not answer; 500 for what only an operator can mend.
    pub(super) async fn of(&self, project: Option<&str>) -> Result<Figures> {
        if let Some(figures) = self.fresh(project) {
            return Ok(figures);
        }
        let _waits = self.waiters.enter()?;
        let turn = usize::try_from(self.hasher.hash_one(project)).unwrap_or_default() % TURNS_COUNT;
        let _turn = self.turns[turn].lock().await;
        if let Some(figures) = self.fresh(project) {
            return Ok(figures);
        }
        let Some(question) = self.health.admit() else { return Err(Error { cause: None, ..away("") }) };
        let asked = tokio::time::timeout(self.timeout, self.ask(project)).await;
        let asked = asked.unwrap_or_else(|_| Err(away(format_args!("no limits within {:?}", self.timeout))));
        // What only an operator can mend is an answer.
        question.ended(!matches!(&asked, Err(error) if error.kind == common::Kind::Unavailable));
        let figures = asked?;
        self.remember(project, figures);
        Ok(figures)
    }

    /// What Keystone said last of `project`, if that is still known.
    pub(super) fn last(&self, project: Option<&str>) -> Option<Figures> {
        self.known().projects.get(&project.map(str::to_owned)).map(|(figures, _)| *figures)
    }

    async fn ask(&self, project: Option<&str>) -> Result<Figures> {
        let place = self.place().await?;
        let registered = self.registered(&place).await?;
        let Some(project) = project else { return Ok(registered) };
        let query = filed_under(&place, Some(project));
        let own: LimitsDocument = self.get(&format!("/v3/limits?{query}")).await?;
        Ok(Figures::of_project(&own.limits).or(registered))
    }

    /// Where our limits are filed.
    async fn place(&self) -> Result<Place> {
        let now = Instant::now();
        if let Some((place, _)) = self.known().place.as_ref().filter(|(_, until)| now < *until) {
            return Ok(place.clone());
        }
        let document: ModelDocument = self.get("/v3/limits/model").await?;
        if document.model.name != MODEL {
            let name = document.model.name;
            return Err(Error::internal(format!("[oslo_limit] Keystone's model of limits is {name}, not {MODEL}")));
        }
        let place = match &self.endpoint {
            LimitsEndpoint::Id(id) => {
                let document: EndpointDocument = self.get(&format!("/v3/endpoints/{id}")).await?;
                document.endpoint
            }
            LimitsEndpoint::Lookup { service_type, service_name, region, interface } => {
                let wanted = [("type", service_type.as_deref()), ("name", service_name.as_deref())];
                let query = write_query(wanted.into_iter().filter_map(|(name, value)| Some((name, value?))));
                let document: ServicesDocument = self.get(&format!("/v3/services?{query}")).await?;
                let service = only(document.services, "service")?.id;
                let wanted = [
                    ("service_id", Some(service.as_str())),
                    ("region_id", region.as_deref()),
                    ("interface", Some(interface.as_str())),
                ];
                let query = write_query(wanted.into_iter().filter_map(|(name, value)| Some((name, value?))));
                let document: EndpointsDocument = self.get(&format!("/v3/endpoints?{query}")).await?;
                only(document.endpoints, "endpoint")?
            }
        };
        self.known().place = Some((place.clone(), now + PLACE_HOLDS));
        Ok(place)
    }

    async fn registered(&self, place: &Place) -> Result<Figures> {
        let now = Instant::now();
        if let Some((figures, _)) = self.known().registered.filter(|(_, until)| now < *until) {
            return Ok(figures);
        }
        let query = filed_under(place, None);
        let document: RegisteredDocument = self.get(&format!("/v3/registered_limits?{query}")).await?;
        let figures = Figures::registered(&document.registered_limits);
        for resource in Resource::ALL.into_iter().filter(|resource| figures.get(*resource).is_none()) {
            if !self.told.load(Ordering::Relaxed) {
                tracing::warn!("Keystone has no registered limit {}: none of it is allowed", resource.as_str());
            }
        }
        self.told.store(true, Ordering::Relaxed);
        self.known().registered = Some((figures, now + self.keep));
        Ok(figures)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.session.get(path, &[]).await?;
        match answer.status {
            StatusCode::OK => read(&answer.body, path),
            status if status.is_server_error() => Err(away(format_args!("{path} answered {status}"))),
            status => Err(Error::internal(format!("[oslo_limit] Keystone's {path} answered {status}"))),
        }
    }

    fn fresh(&self, project: Option<&str>) -> Option<Figures> {
        let now = Instant::now();
        let known = self.known();
        let found = known.projects.get(&project.map(str::to_owned));
        found.filter(|(_, until)| now < *until).map(|(figures, _)| *figures)
    }

    fn remember(&self, project: Option<&str>, figures: Figures) {
        let now = Instant::now();
        let mut known = self.known();
        if known.projects.len() >= PROJECTS_MAX {
            known.projects.retain(|_, (_, until)| now < *until);
        }
        if known.projects.len() >= PROJECTS_MAX {
            known.projects.clear();
        }
        known.projects.insert(project.map(str::to_owned), (figures, now + self.keep));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves it whole: it is changed in single steps.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn filed_under(place: &Place, project: Option<&str>) -> String {
    let wanted = [
        ("service_id", Some(place.service_id.as_str())),
        ("region_id", place.region_id.as_deref()),
        ("project_id", project),
    ];
    write_query(wanted.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

fn only<T>(found: Vec<T>, what: &str) -> Result<T> {
    let count = found.len();
    let mut found = found.into_iter();
    match (found.next(), count) {
        (Some(one), 1) => Ok(one),
        _ => Err(Error::internal(format!("[oslo_limit] Keystone has {count} of the {what} that is ours, not one"))),
    }
}
