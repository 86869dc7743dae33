//! What a store does wrong, on purpose and by a seed: the errors and broken answers of real object stores.
//!
//! Request n of a server fares as its seed says, whichever request that is; clients that run at once draw lots.

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

/// What a server does wrong, and what it has done.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

/// Which faults come, and when.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Fraction of the requests that meet one.
    pub rate: f64,
    /// Chooses them.
    pub seed: u64,
    /// What may come.
    pub kinds: Vec<Fault>,
    /// Answers in a burst of 503.
    pub burst: u64,
    /// Length of a silence.
    pub silence: Duration,
    /// Requests that a change stays out of listings for, where these are stale.
    pub lag: u64,
    /// What the first requests meet, one each, before the rate counts; `None` is nothing.
    pub first: Vec<Option<Fault>>,
    /// What the request of this number meets, from 1.
    pub at: Option<(usize, Fault)>,
    /// What requests and answers go over, where it is slow.
    pub link: Option<Arc<Link>>,
    /// Only requests meet something whose line, as in [`Faults::requests`], contains this.
    pub only: String,
    /// A request meets something only when it comes for the first time.
    pub once: bool,
}

#[derive(Debug, Default)]
struct State {
    plan: Plan,
    burst_left: u64,
    expired_key: Option<String>,
    /// A key that is going to expire, and what the line contains of the last request that it is good for.
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
    /// The first requests meet `faults`, one each, with silences of `silence`.
    pub fn first(faults: &[Fault], silence: Duration) -> Self {
        Plan { first: faults.iter().copied().map(Some).collect(), silence, ..Plan::default() }
    }

    /// Reads `rate=0.2,seed=1,kinds=reset+slow-down,burst=3,silence_ms=30000,latency_ms=50,bytes_per_second=20000000`; any
    /// may be left out. The kinds are all that a reader can recover from without knowing what the bytes should be.
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
    /// Goes by `plan` from now on, and counts from zero.
    pub fn follow(&self, plan: Plan) {
        *self.state() = State { plan, ..State::default() };
    }

    /// From now on requests that are signed with access key `key` are answered with 400 ExpiredToken.
    pub fn expire(&self, key: &str) {
        self.state().expired_key = Some(key.to_owned());
    }

    /// The same once a request has come whose line contains `at`, which is still answered: in the middle of what it is part of.
    pub fn expire_after(&self, key: &str, at: &str) {
        self.state().expires_after = Some((key.to_owned(), at.to_owned()));
    }

    /// How often a fault has been met.
    pub fn count(&self, fault: Fault) -> u64 {
        self.state().met.get(&fault).copied().unwrap_or_default()
    }

    /// How many requests were refused because their key has expired.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    /// The requests that came, as `GET /bucket/name bytes=0-99`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// The most requests that were being answered at once.
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
        // One that had come before the plan was exchanged was never counted.
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
    /// What a request meets, with the length of a silence; `None` where its credentials have expired.
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
        // One whose answer is late is met once it is carried out.
        if let Some(fault) = fault.filter(|fault| *fault != Fault::LateAnswer) {
            self.meets(fault);
        }
        Some((fault, self.plan.silence))
    }

    /// How the latest listing is wrong.
    fn wrong(&self, fault: Fault) -> Wrong {
        Wrong { fault, lag: self.plan.lag, lot: mix(self.plan.seed ^ self.requests.len() as u64) }
    }

    fn meets(&mut self, fault: Fault) {
        *self.met.entry(fault).or_default() += 1;
    }

    /// What the latest request meets. Only a read has a body that can be damaged; for others such a fault is an error.
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

async fn wrong_answer(
    fault: Fault,
    silence: Duration,
    service: &S3Service,
    request: Request<Incoming>,
) -> io::Result<Answer> {
    match fault {
        Fault::SlowDown => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
        Fault::InternalError => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
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
            // Half an answer must have its length in its head, as the whole one would.
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
        // What was sent must be on its way before the connection breaks.
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
