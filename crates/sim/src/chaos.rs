//! The way between a component and the server: slow, forgetful, and sometimes cut.

use crate::diary::{Diary, Note};
use apiserver::ApiServer;
use bytes::Bytes;
use client::{Body, Transport, TransportError};
use futures::future::BoxFuture;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use meta::UserInfo;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use stdx::Rng;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

/// Kinds of calls that a report shows.
const MAX_SHOWN: usize = 400;
/// Frames of a watch that are on their way.
const IN_FLIGHT: usize = 1024;

/// A generator that several share.
#[derive(Clone)]
pub(crate) struct Dice(Arc<Mutex<Rng>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rng::new(seed))))
    }

    pub(crate) fn draw<T>(&self, f: impl FnOnce(&mut Rng) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn chance(&self, p: f64) -> bool {
        self.draw(|r| r.chance(p))
    }

    pub(crate) fn below(&self, n: u64) -> u64 {
        self.draw(|r| r.below(n))
    }

    /// A generator of its own, so that one more draw here doesn't change everything elsewhere.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.draw(Rng::next_u64))
    }
}

/// The server that stands at the moment, and which life of it this is.
pub(crate) struct Cell {
    server: Mutex<Option<Arc<ApiServer>>>,
    life: AtomicU64,
    /// Wakes, in order, whoever would hear that a life ended. (tokio's `watch` wakes in a random order.)
    ended: Notify,
    /// Whether the world is still wild.
    wild: AtomicBool,
    /// UIDs of objects whose creation was acknowledged.
    acknowledged: Mutex<Vec<String>>,
    /// How often who asked for what.
    calls: Mutex<BTreeMap<String, u64>>,
    pub(crate) diary: Diary,
}

impl Cell {
    pub(crate) fn new(diary: Diary) -> Arc<Self> {
        let (server, acknowledged, calls) = (Mutex::new(None), Mutex::new(Vec::new()), Mutex::default());
        let (life, ended) = (AtomicU64::new(0), Notify::new());
        Arc::new(Self { server, life, ended, wild: AtomicBool::new(true), acknowledged, calls, diary })
    }

    /// Puts another server there; none: it is down. Whatever was open breaks.
    pub(crate) fn put(&self, server: Option<Arc<ApiServer>>) {
        self.life.fetch_add(1, Ordering::Relaxed);
        // Before the old server is dropped, which wakes its watches in no order.
        self.ended.notify_waiters();
        let old = std::mem::replace(&mut *self.server.lock().unwrap_or_else(PoisonError::into_inner), server);
        drop(old);
    }

    fn life(&self) -> u64 {
        self.life.load(Ordering::Relaxed)
    }

    fn get(&self) -> Option<Arc<ApiServer>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn calm(&self) {
        self.wild.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_wild(&self) -> bool {
        self.wild.load(Ordering::Relaxed)
    }

    fn count(&self, line: String) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(line).or_default() += 1;
    }

    /// The most frequent calls, a line each.
    pub(crate) fn frequent(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<(&u64, &String)> = calls.iter().map(|(line, n)| (n, line)).collect();
        all.sort_by(|a, b| b.cmp(a));
        all.iter().take(MAX_SHOWN).map(|(n, line)| format!("{n} × {line}")).collect()
    }

    pub(crate) fn take_acknowledged(&self) -> Vec<String> {
        std::mem::take(&mut self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How bad the way is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The chance that a call or its answer is lost.
    pub(crate) loss: f64,
    /// The chance that a watch breaks with an event.
    pub(crate) cut: f64,
    /// The chance that an event comes seconds late.
    pub(crate) stall: f64,
}

/// A way to the server for one identity.
pub(crate) struct Way {
    pub(crate) cell: Arc<Cell>,
    pub(crate) user: UserInfo,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
}

impl Transport for Way {
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        let (cell, user, dice, weather) =
            (self.cell.clone(), self.user.clone(), self.dice.fork(), self.weather);
        Box::pin(async move {
            let wild = cell.is_wild();
            let millis = |dice: &Dice| Duration::from_millis(if wild { dice.below(40) } else { 1 });
            let line = line(&user.name, &request);
            cell.count(line.clone());
            sleep(millis(&dice)).await;
            if wild && dice.chance(weather.loss) {
                return Err(TransportError::broken("the request was lost"));
            }
            let Some(server) = cell.get() else {
                return Err(TransportError::unsent("connection refused"));
            };
            let born = cell.life();
            let noted = request.method() == http::Method::POST
                || (cell.diary.is_open() && request.method() != http::Method::GET);
            let call = format!("{} {}", request.method(), request.uri().path());
            let who = user.name.clone();
            let is_watch = request.uri().query().is_some_and(|q| q.contains("watch=true"));
            let response = server.transport(user).call(request).await?;
            if response.status().as_u16() >= 400 {
                cell.count(format!("{} {line}", response.status().as_u16()));
            }
            sleep(millis(&dice)).await;
            if cell.life() != born {
                return Err(TransportError::broken("the server went away"));
            }
            if wild && dice.chance(weather.loss) {
                return Err(TransportError::broken("the answer was lost"));
            }
            if is_watch && response.status().is_success() {
                return Ok(response.map(|body| laggy(body, cell, born, dice, weather)));
            }
            if noted && response.status().is_success() {
                note(&cell, who, call, response).await
            } else {
                Ok(response)
            }
        })
    }
}

/// Who asks for what, without the name of the object.
fn line(user: &str, request: &http::Request<Bytes>) -> String {
    let path = request.uri().path();
    let path = path.rsplit_once('/').map_or(path, |(head, _)| head);
    format!("{} {} {path}", user.rsplit(':').next().unwrap_or(user), request.method())
}

/// Remembers that a creation was acknowledged, and whose call it was.
async fn note(
    cell: &Cell,
    user: String,
    call: String,
    response: http::Response<Body>,
) -> Result<http::Response<Body>, TransportError> {
    let (parts, body) = response.into_parts();
    let bytes = client::transport::collect(body, client::transport::MAX_ANSWER_BYTES).await?;
    let answer: Option<api::PartialObject> = serde_json::from_slice(&bytes).ok();
    if let Some(meta) = answer.map(|o| o.metadata) {
        cell.diary.write(|| Note::Call { user, call: call.clone() });
        let uid = meta.uid.filter(|_| call.starts_with("POST"));
        cell.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).extend(uid);
    }
    Ok(http::Response::from_parts(parts, client::transport::full_body(bytes)))
}

/// The frames of a watch, each late by chance, in order, until it breaks.
fn laggy(mut body: Body, cell: Arc<Cell>, born: u64, dice: Dice, weather: Weather) -> Body {
    let (sink, source) = mpsc::channel::<Result<Frame<Bytes>, TransportError>>(IN_FLIGHT);
    tokio::spawn(async move {
        let mut ended = std::pin::pin!(cell.ended.notified());
        ended.as_mut().enable();
        while cell.life() == born {
            let frame = tokio::select! {
                biased;
                () = &mut ended => None,
                () = sink.closed() => return,
                frame = body.frame() => frame,
            };
            let Some(frame) = frame else { break };
            if cell.is_wild() {
                let stalls = dice.chance(weather.stall);
                sleep(Duration::from_millis(dice.below(if stalls { 4000 } else { 30 }))).await;
                if dice.chance(weather.cut) {
                    break;
                }
            }
            if sink.send(frame).await.is_err() {
                return;
            }
        }
    });
    let frames = futures::stream::unfold(source, |mut source| async { Some((source.recv().await?, source)) });
    StreamBody::new(frames).boxed_unsync()
}
