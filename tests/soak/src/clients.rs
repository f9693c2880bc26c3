//! Who asks: clients of different manners, each of which knows what is right.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::Version;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::requests::{Answer, Ask, Kind};
use crate::scene::{Scene, Stage};
use crate::server::MOST_BODY;
use crate::tally::Tally;
use crate::wire::{Connection, connect, first_answer, last_answer};

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many requests on a connection, then a new one.
const PER_CONNECTION: usize = 300;
/// A body comes in so many pieces, so far apart.
const PIECES: usize = 8;
const PIECE: Duration = Duration::from_millis(150);

/// How a client behaves.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// Many requests on a connection.
    Stays(Version),
    /// One request, then another connection.
    Comes,
    /// A raw connection for one thing.
    Does(Kind),
    /// Opens a stream and leaves it.
    Leaves(Version),
}

/// The clients of the mixed load: how many, and how they behave.
pub(crate) const MIXED: [(usize, Manner); 9] = [
    (22, Manner::Stays(Version::HTTP_11)),
    (10, Manner::Stays(Version::HTTP_2)),
    (10, Manner::Comes),
    (4, Manner::Does(Kind::TooBig)),
    (4, Manner::Does(Kind::SlowBody)),
    (2, Manner::Does(Kind::TooSlow)),
    (4, Manner::Does(Kind::GoneMidRequest)),
    (4, Manner::Leaves(Version::HTTP_11)),
    (4, Manner::Leaves(Version::HTTP_2)),
];

/// The honest clients beside the attacks.
pub(crate) const HONEST: [(usize, Manner); 5] = [
    (20, Manner::Stays(Version::HTTP_11)),
    (14, Manner::Stays(Version::HTTP_2)),
    (12, Manner::Comes),
    (2, Manner::Leaves(Version::HTTP_11)),
    (2, Manner::Leaves(Version::HTTP_2)),
];

/// What all clients share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) stage: Arc<Stage>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) until: Instant,
    /// What clients of one request and one answer send, in turn.
    pub(crate) mix: &'static [Kind],
    /// The time between two requests of a client.
    pub(crate) pause: Duration,
}

/// Lets all of them ask until the time is up.
pub(crate) async fn run(world: &World, clients: &[(usize, Manner)]) {
    let manners = clients.iter().flat_map(|(count, manner)| std::iter::repeat_n(*manner, *count));
    let mut clients = JoinSet::new();
    for (number, manner) in manners.enumerate() {
        let world = world.clone();
        clients.spawn(async move { client(&world, manner, number).await });
    }
    while let Some(ended) = clients.join_next().await {
        if let Err(error) = ended {
            world.tally.wrong(Kind::List, &format!("a client failed: {error}"));
        }
    }
}

async fn client(world: &World, manner: Manner, number: usize) {
    // Every client begins elsewhere in the mix.
    let mut number = number * 7;
    while Instant::now() < world.until {
        match manner {
            Manner::Stays(version) => stay(world, version, &mut number, PER_CONNECTION).await,
            Manner::Comes => stay(world, Version::HTTP_11, &mut number, 1).await,
            Manner::Does(kind) => misbehave(world, kind, number).await,
            Manner::Leaves(version) => leave(world, version, &mut number).await,
        }
        number += 1;
        sleep(world.pause).await;
    }
}

/// What comes of one request, judged by the scenes before and after it.
///
/// Whether the connection lives on.
async fn judged(
    world: &World,
    ask: &Ask,
    before: &Scene,
    answer: impl Future<Output = anyhow::Result<Answer>>,
) -> bool {
    let kind = ask.kind;
    let answer = timeout(PATIENCE, answer).await;
    match answer.context("nothing came").and_then(|answer| answer) {
        Ok(answer) => {
            world.tally.count(kind, answer.status.to_string());
            if let Err(wrong) = ask.judge(&answer, before, &world.stage.now()) {
                world.tally.wrong(kind, &wrong);
            }
            !answer.closes
        }
        Err(error) => {
            world.tally.count(kind, "failed".into());
            world.tally.wrong(kind, &format!("{error:#}"));
            false
        }
    }
}

async fn opened(world: &World, version: Version) -> Option<Connection> {
    let opened = timeout(PATIENCE, Connection::open(world.address, version)).await;
    match opened.context("not in time").and_then(|opened| opened) {
        Ok(connection) => Some(connection),
        Err(error) => {
            world.tally.wrong(Kind::List, &format!("no connection: {error:#}"));
            None
        }
    }
}

/// So many requests of the mix on one connection.
async fn stay(world: &World, version: Version, number: &mut usize, requests: usize) {
    let Some(mut connection) = opened(world, version).await else {
        return;
    };
    for _ in 0..requests {
        if Instant::now() >= world.until || !mixed(world, &mut connection, *number).await {
            return;
        }
        *number += 1;
        sleep(world.pause).await;
    }
}

async fn mixed(world: &World, connection: &mut Connection, number: usize) -> bool {
    let before = world.stage.now();
    let ask = Ask::new(world.mix[number % world.mix.len()], number, &before);
    let answer = async { connection.exchange(ask.request(connection.version())?).await };
    let asked = Instant::now();
    let lives_on = judged(world, &ask, &before, answer).await;
    world.tally.took(asked.elapsed());
    lives_on
}

/// Opens streams on one connection and leaves each; at the end, the connection with the last one.
async fn leave(world: &World, version: Version, number: &mut usize) {
    let Some(mut connection) = opened(world, version).await else {
        return;
    };
    // HTTP/1.1 has no other way to leave a stream than to close.
    let streams = if version == Version::HTTP_2 { 10 } else { 1 };
    for _ in 0..streams {
        let before = world.stage.now();
        let ask = Ask::new(Kind::GoneMidStream, *number, &before);
        let answer = first_event(&mut connection, &ask, PIECE * u32::try_from(*number % 8).unwrap_or(0));
        if !judged(world, &ask, &before, answer).await {
            return;
        }
        *number += 1;
    }
}

async fn first_event(connection: &mut Connection, ask: &Ask, stay: Duration) -> anyhow::Result<Answer> {
    let response = connection.begin(ask.request(connection.version())?).await?;
    let (head, mut body) = response.into_parts();
    let event =
        body.frame().await.context("no event")??.into_data().map_err(|_| anyhow::anyhow!("no data"))?;
    sleep(stay).await;
    Ok(Answer {
        status: head.status.as_u16(),
        retry_after: false,
        challenge: false,
        closes: false,
        body: event,
    })
}

/// One thing that clients should not do, on a connection of its own.
async fn misbehave(world: &World, kind: Kind, number: usize) {
    let before = world.stage.now();
    let ask = Ask::new(kind, number, &before);
    match kind {
        Kind::TooBig => drop(judged(world, &ask, &before, too_big(world, &ask)).await),
        Kind::SlowBody => drop(judged(world, &ask, &before, slow(world, &ask)).await),
        Kind::TooSlow => drop(judged(world, &ask, &before, too_slow(world, &ask)).await),
        _ => match gone(world, &ask, number).await {
            Ok(()) => world.tally.count(kind, "gone".into()),
            Err(error) => world.tally.wrong(kind, &format!("{error:#}")),
        },
    }
}

async fn too_big(world: &World, ask: &Ask) -> anyhow::Result<Answer> {
    let mut stream = connect(world.address).await?;
    stream.write_all(ask.head(2 * MOST_BODY).as_bytes()).await?;
    // The server may close before it has all of it.
    let _ = stream.write_all(&vec![b' '; 2 * MOST_BODY]).await;
    last_answer(&mut stream).await
}

async fn slow(world: &World, ask: &Ask) -> anyhow::Result<Answer> {
    let body = ask.body();
    let whole = [ask.head(body.len()).as_bytes(), body.as_bytes()].concat();
    let mut stream = connect(world.address).await?;
    for piece in whole.chunks(whole.len().div_ceil(PIECES)) {
        stream.write_all(piece).await?;
        sleep(PIECE).await;
    }
    first_answer(&mut stream).await
}

async fn too_slow(world: &World, ask: &Ask) -> anyhow::Result<Answer> {
    let mut stream = connect(world.address).await?;
    let body = ask.body();
    let (half, _) = body.split_at(body.len() / 2);
    stream.write_all(format!("{}{half}", ask.head(body.len())).as_bytes()).await?;
    last_answer(&mut stream).await
}

/// Leaves in the middle of the head, of the body, or before the answer.
async fn gone(world: &World, ask: &Ask, number: usize) -> anyhow::Result<()> {
    let body = ask.body();
    let whole = [ask.head(body.len()).as_bytes(), body.as_bytes()].concat();
    let most = [whole.len() / 4, whole.len() - body.len() / 2, whole.len()][number % 3];
    let mut stream = connect(world.address).await?;
    stream.write_all(&whole[..most]).await?;
    // A close with nothing unread is an end, with this it is a reset.
    if number.is_multiple_of(2) {
        stream.set_zero_linger()?;
    }
    Ok(())
}
