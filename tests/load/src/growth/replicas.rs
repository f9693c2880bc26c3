//! Replicas that share a Redis: what a call with quotas costs each, and how long a change takes from one to another.

use crate::client::{Client, Work};
use crate::growth::law::Expected::Flat;
use crate::growth::subscriptions::{announce, listen};
use crate::growth::{CONNECTIONS, Setting, Unit, Way};
use crate::measure::{ask, median};
use crate::process::Process;
use crate::quotas::{KEYS, QUOTA};
use crate::requests::Era;

const SIZES: [usize; 3] = [1, 2, 3];
/// For each of the rounds.
const CHANGES: usize = 20;

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let [cpu, mut time] = match &setting.redis {
        Some(redis) => setting.medians(&SIZES, |size| round(setting, redis, size))?,
        None => Default::default(),
    };
    // One alone tells itself.
    time.retain(|point| point.size > 1.0);
    Ok(vec![
        Way::new("a call with quotas in Redis", "replicas", Flat, cpu),
        Way::new("an announced change, to a listener of the last", "replicas", Flat, time)
            .counted_in(Unit::Milliseconds),
    ])
}

fn round(setting: &Setting, redis: &str, size: usize) -> anyhow::Result<[f64; 2]> {
    let config = format!(
        "{QUOTA}when_redis_is_away = \"refuse\"\n{KEYS}[redis]\nurl = {redis:?}\nprefix = \"growth\"\ntimeout_ms = 5000\n"
    );
    let servers: Vec<Process> = (0..size).map(|_| setting.server(&config)).collect::<anyhow::Result<_>>()?;
    let requests: Vec<Vec<u8>> = setting.seen.iter().map(|token| Era::Modern.request(token)).collect();
    let expected = ask(servers[0].address, &requests[0])?;
    Era::Modern.check(&expected)?;
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut client = Client::connect_to_all(&addresses, size * CONNECTIONS)?;
    let cpu = setting.cpu(&servers, &mut client, &Work { requests: &requests, expected: &expected })?;
    let mut listener = listen(setting, &servers[size - 1], 1)?;
    let times: Vec<f64> = (0..CHANGES)
        .map(|_| Ok(announce(setting, &servers[0], &mut listener)?.last))
        .collect::<anyhow::Result<_>>()?;
    Ok([cpu, median(times.into_iter())])
}
