//! Faults of a store, on purpose and by a seed: the errors and broken answers of real object stores.
//!
//! The seed determines what request n of a server meets, regardless of which request that is. Which of several concurrent
//! clients meets it is chance.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use s3s::service::S3Service;

use crate::fault_kind::{NAMES, USUAL};
use crate::link::Link;
use crate::listings::Wrong;
use crate::random::mix;

pub use crate::fault_kind::Fault;

const KEYS: &str = "rate, seed, kinds, burst, lag, silence_ms, latency_ms and bytes_per_second";

/// Faults of a server: the plan, and what has happened.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

/// A plan of faults.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Fraction of the requests that meet a fault.
    pub rate: f64,
    /// Seed that chooses them.
    pub seed: u64,
    /// Kinds of faults that may come.
    pub kinds: Vec<Fault>,
    /// Number of answers in a burst of 503.
    pub burst: u64,
    /// Duration of a silence.
    pub silence: Duration,
    /// Number of requests for which a change stays out of stale listings.
    pub lag: u64,
    /// Faults of the first requests, one each, before the rate counts; `None` is no fault.
    pub first: Vec<Option<Fault>>,
    /// A request by its number, from 1, and the fault that it meets.
    pub at: Option<(usize, Fault)>,
    /// Slow link that requests and answers go over; `None` for no delay.
    pub link: Option<Arc<Link>>,
    /// Text that the line of a request, as in [`Faults::requests`], must contain for it to meet a fault.
    pub only: String,
    /// Whether a request meets a fault only when it comes for the first time.
    pub once: bool,
}

#[derive(Debug, Default)]
struct State {
    plan: Plan,
    burst_left: u64,
    expired_key: Option<String>,
    /// A key that is going to expire, and a text in the line of the last request for which it is valid.
    expires_after: Option<(String, String)>,
    refused: u64,
    requests: Vec<String>,
    in_flight: usize,
    most_in_flight: usize,
    met: BTreeMap<Fault, u64>,
}

/// An answer of the server.
type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

impl Plan {
    /// Creates a plan in which the first requests meet `faults`, one each, with silences of `silence`.
    pub fn first(faults: &[Fault], silence: Duration) -> Self {
        Plan { first: faults.iter().copied().map(Some).collect(), silence, ..Plan::default() }
    }

    /// Reads `rate=0.2,seed=1,kinds=reset+slow-down,burst=3,silence_ms=30000,latency_ms=50,bytes_per_second=20000000`; any of
    /// them may be left out. The default kinds are all from which a reader can recover without knowing what the bytes should
    /// be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let kinds = NAMES[..USUAL].iter().map(|(_, kind)| *kind).collect();
        let mut plan = Plan { seed: 1, kinds, burst: 3, lag: 20, silence: Duration::from_secs(30), ..Plan::default() };
        let mut link = Link::default();
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not KEY=VALUE"))?;
            match key {
                "rate" => plan.rate = number(pair, value)?,
                "seed" => plan.seed = number(pair, value)?,
                "burst" => plan.burst = number(pair, value)?,
                "lag" => plan.lag = number(pair, value)?,
                "silence_ms" => plan.silence = Duration::from_millis(number(pair, value)?),
                "kinds" => plan.kinds = value.split('+').map(kind).collect::<Result<_, _>>()?,
                "latency_ms" => link.latency = Duration::from_millis(number(pair, value)?),
                "bytes_per_second" => link.bytes_per_second = number(pair, value)?,
                _ => return Err(format!("{pair}: the keys are {KEYS}")),
            }
        }
        plan.link = link.is_slow().then(|| Arc::new(link));
        Ok(plan)
    }
}

impl Faults {
    /// Follows `plan` from now on, and counts from zero.
    pub fn follow(&self, plan: Plan) {
        *self.state() = State { plan, ..State::default() };
    }

    /// Answers requests that are signed with access key `key` with 400 ExpiredToken from now on.
    pub fn expire(&self, key: &str) {
        self.state().expired_key = Some(key.to_owned());
    }

    /// Lets `key` expire after a request with a line that contains `at`. That request is still answered: the key expires in
    /// the middle of an operation.
    pub fn expire_after(&self, key: &str, at: &str) {
        self.state().expires_after = Some((key.to_owned(), at.to_owned()));
    }

    /// Returns how often a fault has been met.
    pub fn count(&self, fault: Fault) -> u64 {
        self.state().met.get(&fault).copied().unwrap_or_default()
    }

    /// Returns the number of requests that were refused because their key has expired.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    /// Returns the requests so far, each as `GET /bucket/name bytes=0-99`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Returns the largest number of requests that were being answered at once.
    pub fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `request` as `service` does, or wrongly.
    pub(crate) async fn answer(&self, service: &S3Service, mut request: Request<Incoming>) -> io::Result<Answer> {
        let (fault, silence) = match self.state().arrives(&request) {
            Some(drawn) => drawn,
            None => return Ok(refusal(StatusCode::BAD_REQUEST, "ExpiredToken")),
        };
        let link = self.state().plan.link.clone();
        if let Some(link) = &link {
            tokio::time::sleep(link.latency).await;
        }
        let answer = match fault {
            None => answered(service, request).await,
            Some(fault) if fault.is_of_listings() => {
                let wrong = self.state().wrong(fault);
                request.extensions_mut().insert(wrong);
                answered(service, request).await
            }
            Some(Fault::LateAnswer) => {
                let answer = answered(service, request).await;
                self.state().meets(Fault::LateAnswer);
                tokio::time::sleep(silence).await;
                answer
            }
            Some(fault) => wrong_answer(fault, silence, service, request).await,
        };
        // A request that had come before the plan was replaced was never counted.
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        answer.map(|answer| match link {
            Some(link) => answer.map(|body| link.carry(body)),
            None => answer,
        })
    }
}

impl State {
    /// Returns what a request meets, with the duration of a silence; `None` where its credentials have expired.
    fn arrives(&mut self, request: &Request<Incoming>) -> Option<(Option<Fault>, Duration)> {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let line = format!("{} {} {}", request.method(), request.uri(), header(RANGE)).trim().to_owned();
        let is_meant = line.contains(&self.plan.only) && !(self.plan.once && self.requests.contains(&line));
        let signs = |key: &String| header(AUTHORIZATION).contains(&format!("Credential={key}/"));
        let refuses = self.expired_key.as_ref().is_some_and(signs);
        if let Some((key, _)) = self.expires_after.take_if(|(_, at)| line.contains(at.as_str())) {
            self.expired_key = Some(key);
        }
        self.requests.push(line);
        if refuses {
            self.refused += 1;
            return None;
        }
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
        let fault = if is_meant { self.draw(request.method() == Method::GET) } else { None };
        let lists = request.uri().query().is_some_and(|query| query.contains("list-type=2"));
        let fault = fault.filter(|fault| lists || !fault.is_of_listings());
        let fault = fault.filter(|fault| writes(request) || !fault.is_of_writes());
        // A request with a late answer counts once it is performed.
        if let Some(fault) = fault.filter(|fault| *fault != Fault::LateAnswer) {
            self.meets(fault);
        }
        Some((fault, self.plan.silence))
    }

    /// Returns how the latest listing is wrong.
    fn wrong(&self, fault: Fault) -> Wrong {
        Wrong { fault, lag: self.plan.lag, lot: mix(self.plan.seed ^ self.requests.len() as u64) }
    }

    fn meets(&mut self, fault: Fault) {
        *self.met.entry(fault).or_default() += 1;
    }

    /// Draws the fault of the latest request. Only a read has a body that can be damaged; for other requests such a fault
    /// becomes an error.
    fn draw(&mut self, is_read: bool) -> Option<Fault> {
        let number = self.requests.len();
        let at = self.plan.at.filter(|(at, _)| *at == number).map(|(_, fault)| Some(fault));
        let fault = match at.as_ref().or(self.plan.first.get(number - 1)) {
            Some(first) => (*first)?,
            None if self.burst_left > 0 => {
                self.burst_left -= 1;
                return Some(Fault::SlowDown);
            }
            None => self.lot(number as u64)?,
        };
        if fault == Fault::SlowDown {
            self.burst_left = self.plan.burst.saturating_sub(1);
        }
        let damages = matches!(fault, Fault::Reset | Fault::Cut | Fault::Stall | Fault::WrongBytes);
        Some(if damages && !is_read { Fault::InternalError } else { fault })
    }

    fn lot(&self, number: u64) -> Option<Fault> {
        let lot = mix(mix(self.plan.seed) ^ number);
        let is_met = (lot >> 11) as f64 / ((1u64 << 53) as f64) < self.plan.rate;
        let kind = mix(lot) % self.plan.kinds.len().max(1) as u64;
        self.plan.kinds.get(kind as usize).copied().filter(|_| is_met)
    }
}

/// Returns whether a request adds to what the store holds. Deletions of several objects are a POST, too.
fn writes<B>(request: &Request<B>) -> bool {
    let deletes = request.uri().query().is_some_and(|query| query.split('&').any(|key| key.starts_with("delete")));
    matches!(*request.method(), Method::PUT | Method::POST) && !deletes
}

async fn wrong_answer(
    fault: Fault,
    silence: Duration,
    service: &S3Service,
    request: Request<Incoming>,
) -> io::Result<Answer> {
    match fault {
        Fault::SlowDown => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
        Fault::InternalError => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
        Fault::Full => Ok(refusal(StatusCode::INSUFFICIENT_STORAGE, "XMinioStorageFull")),
        Fault::Silence => {
            tokio::time::sleep(silence).await;
            answered(service, request).await
        }
        Fault::LostAnswer => {
            let _ = answered(service, request).await?.into_body().collect().await;
            Err(io::Error::other("the answer gets lost"))
        }
        Fault::LateAnswer
        | Fault::StaleListing
        | Fault::PartialListing
        | Fault::DuplicatedListing
        | Fault::ForeignKeys => unreachable!("answered where it is drawn"),
        Fault::Reset | Fault::Cut | Fault::Stall | Fault::WrongBytes => {
            let (parts, body) = answered(service, request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            // The head of half an answer must state the length of the whole one.
            let length = body.len().into();
            let mut answer = Response::from_parts(parts, damaged(fault, silence, body));
            answer.headers_mut().insert(CONTENT_LENGTH, length);
            Ok(answer)
        }
    }
}

fn damaged(fault: Fault, silence: Duration, body: Bytes) -> UnsyncBoxBody<Bytes, io::Error> {
    let (first, rest) = (body.slice(..body.len() / 2), body.slice(body.len() / 2..));
    let then = match fault {
        Fault::WrongBytes => {
            let mut wrong = body.to_vec();
            wrong.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            return whole(wrong.into());
        }
        Fault::Stall => (silence, Ok(Frame::data(rest))),
        // The bytes must be on their way before the connection breaks.
        Fault::Reset => (A_MOMENT, Err(io::Error::from(io::ErrorKind::ConnectionReset))),
        _ => (A_MOMENT, Err(io::Error::other("the answer ends here"))),
    };
    let later = stream::once(async move {
        tokio::time::sleep(then.0).await;
        then.1
    });
    UnsyncBoxBody::new(StreamBody::new(stream::once(async { Ok(Frame::data(first)) }).chain(later)))
}

const A_MOMENT: Duration = Duration::from_millis(5);

fn number<T: FromStr>(pair: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{pair}: not a number"))
}

fn kind(name: &str) -> Result<Fault, String> {
    let names = || NAMES.map(|(name, _)| name).join(", ");
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map(|(_, kind)| *kind).ok_or_else(|| format!("no kind of fault is called {name}; there are {}", names()))
}

async fn answered(service: &S3Service, request: Request<Incoming>) -> io::Result<Answer> {
    let answer = service.call(request.map(s3s::Body::from)).await.map_err(|e| io::Error::other(format!("{e:?}")))?;
    Ok(answer.map(|body| UnsyncBoxBody::new(body.map_err(io::Error::other))))
}

fn refusal(status: StatusCode, code: &str) -> Answer {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    let mut answer = Response::new(whole(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

fn whole(body: Bytes) -> UnsyncBoxBody<Bytes, io::Error> {
    UnsyncBoxBody::new(Full::new(body).map_err(|never| match never {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_faults_again_at_about_the_rate() {
        let drawn = |seed| {
            let kinds = vec![Fault::Reset, Fault::Cut];
            let mut state = State { plan: Plan { rate: 0.2, seed, kinds, ..Plan::default() }, ..State::default() };
            let draw = |_| {
                state.requests.push(String::new());
                state.draw(true)
            };
            (0..1000).map(draw).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        let met = drawn(3).iter().flatten().count();
        assert!((150..250).contains(&met), "{met}");
    }

    #[test]
    fn a_full_store_refuses_only_what_adds_to_it() {
        let request = |method: Method, uri: &str| Request::builder().method(method).uri(uri).body(()).unwrap();
        assert!(writes(&request(Method::PUT, "/runs/a?partNumber=1&uploadId=x")));
        assert!(writes(&request(Method::POST, "/runs/a?uploads")));
        assert!(!writes(&request(Method::POST, "/runs?delete")));
        assert!(!writes(&request(Method::DELETE, "/runs/a")) && !writes(&request(Method::GET, "/runs/a")));
    }

    #[test]
    fn a_command_line_is_read_or_refused_with_what_there_is() {
        let plan = Plan::parse("rate=0.2,seed=7,kinds=reset+wrong-bytes,silence_ms=5").unwrap();
        assert_eq!((plan.rate, plan.seed, plan.kinds), (0.2, 7, vec![Fault::Reset, Fault::WrongBytes]));
        assert!(!Plan::parse("rate=1").unwrap().kinds.contains(&Fault::WrongBytes));
        let plan = Plan::parse("rate=1,kinds=stale-listing+partial-listing+duplicated-listing,lag=9").unwrap();
        assert_eq!((plan.kinds, plan.lag), (Fault::LISTINGS.to_vec(), 9));
        let link = Plan::parse("latency_ms=50,bytes_per_second=20000000").unwrap().link.unwrap();
        assert_eq!((link.latency, link.bytes_per_second), (Duration::from_millis(50), 20_000_000));
        assert!(Plan::parse("rate=0.1").unwrap().link.is_none());
        assert!(Plan::parse("rate=x").unwrap_err().contains("not a number"));
        assert!(Plan::parse("kinds=fire").unwrap_err().contains("slow-down, internal-error"));
    }
}
