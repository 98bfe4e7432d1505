//! Layers: downloaded by asynchronous code, unpacked on threads of their own while they come in.

use super::Puller;
use super::refusal::Refusal;
use super::repository::Repository;
use crate::store::Layer;
use crate::{Digest, Error, Store};
use bytes::Bytes;
use http::Method;
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{mpsc, oneshot};

/// The largest layer, compressed.
pub(super) const MAX_BLOB: u64 = 32 << 30;
/// Pieces (of what one read from the network gives) that wait to be unpacked.
const PIECES: usize = 16;
/// How often a download may break without a single new byte.
const MAX_FRUITLESS: u32 = 4;
/// How often a download may break at all.
const MAX_BREAKS: u32 = 100;

/// A layer as the image's manifest and configuration tell of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) blob: Digest,
    pub(super) size: u64,
    pub(super) diff_id: Digest,
}

/// Lets the pulls of one layer take turns: the second one finds it here.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(super) fn of(&self, id: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(&id).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(id, Arc::downgrade(&turn));
        turn
    }
}

/// Gets one layer, unless it is here.
pub(super) async fn fetch(puller: Puller, from: Arc<Repository>, wanted: Wanted) -> Result<Layer, Refusal> {
    let turn = puller.shared.turns.of(wanted.diff_id);
    let _mine = turn.lock().await;
    if let Some(layer) = puller.store.layer(&wanted.diff_id) {
        return Ok(layer);
    }
    let permit = puller.shared.downloads.clone().acquire_owned().await;
    let permit = permit.map_err(|_| Refusal::last("the image store is closing"))?;
    let (pieces, reader) = mpsc::channel(PIECES);
    let (tell, told) = oneshot::channel();
    let store = puller.store.clone();
    let unpack = move || {
        let kept = unpack(&store, reader, &wanted);
        drop(permit);
        // Nobody waits for it any more if the pull was called off.
        let _ = tell.send(kept);
    };
    std::thread::Builder::new()
        .name("image-unpack".into())
        .spawn(unpack)
        .map_err(|e| Refusal::last(format!("starting a thread to unpack with: {e}")))?;
    let downloaded = download(&from, &wanted, &pieces).await;
    drop(pieces);
    let kept = told.await.map_err(|_| Refusal::last("the thread that unpacked a layer is gone"))?;
    // A broken download is the reason, whatever the unpacker made of its end.
    downloaded.and_then(|()| kept.map_err(Refusal::from))
}

fn unpack(store: &Store, pieces: mpsc::Receiver<Bytes>, wanted: &Wanted) -> Result<Layer, Error> {
    let stream = Pieces { pieces, rest: Bytes::new() };
    store.add_blob(stream, &wanted.blob, wanted.size, &wanted.diff_id)
}

/// Feeds the unpacker; goes on where a broken transfer ended.
async fn download(from: &Repository, wanted: &Wanted, pieces: &mpsc::Sender<Bytes>) -> Result<(), Refusal> {
    let (mut done, mut fruitless, mut breaks) = (0, 0, 0);
    loop {
        let before = done;
        let broken = match transfer(from, wanted, &mut done, pieces).await {
            Ok(()) if done >= wanted.size || pieces.is_closed() => return Ok(()),
            Ok(()) => Refusal::passing(format!("unexpected EOF after {done} of {} bytes", wanted.size)),
            Err(refusal) => refusal,
        };
        fruitless = if done > before { 1 } else { fruitless + 1 };
        breaks += 1;
        if !broken.again || fruitless >= MAX_FRUITLESS || breaks >= MAX_BREAKS {
            let what = from.describe(&Method::GET, &wanted.blob);
            return Err(broken.doing(&format!("failed to copy: httpReadSeeker: failed open: {what}")));
        }
        tokio::time::sleep(from.pause(fruitless)).await;
    }
}

async fn transfer(
    from: &Repository,
    wanted: &Wanted,
    done: &mut u64,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), Refusal> {
    let (response, from_offset) = from.blob(&wanted.blob, *done).await?;
    let mut skip = if from_offset { 0 } else { *done };
    let mut body = response.into_body();
    while let Some(mut piece) = from.http().piece(&mut body).await? {
        let skipped = skip.min(piece.len() as u64);
        skip -= skipped;
        let _ = piece.split_to(usize::try_from(skipped).unwrap_or(piece.len()));
        if piece.is_empty() {
            continue;
        }
        *done += piece.len() as u64;
        if *done > wanted.size {
            let size = wanted.size;
            return Err(Refusal::last(format!(
                "the registry sends more than the {size} bytes of the manifest"
            )));
        }
        if pieces.send(piece).await.is_err() {
            // The unpacker has given up, and says why itself.
            return Ok(());
        }
    }
    Ok(())
}

/// The pieces as one stream. Its end may be too early; the digest tells.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.rest.len());
        buffer[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}
