//! Connections: all of them are open, and each has its turn.

use std::time::Duration;

use crate::client::{Client, Work};
use crate::growth::law::Expected::{Flat, Linear};
use crate::growth::setting::Pair;
use crate::growth::{CONNECTIONS, Setting, Unit, Way};
use crate::measure::ask;
use crate::process::Process;
use crate::requests::Era;

const LONG: Duration = Duration::from_mins(2);

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let requests: Vec<Vec<u8>> = setting.seen.iter().map(|token| Era::Modern.request(token)).collect();
    let [cpu, memory] = setting.medians_beside(&setting.sizes(32..=10_000), |size| {
        let server = [setting.server("")?];
        let expected = ask(server[0].address, &requests[0])?;
        let work = Work { requests: &requests, expected: &expected };
        let of_server = of(setting, &server, &work, size)?;
        drop(server);
        Ok(Pair::each(of_server, of(setting, &[setting.floor(&expected)?], &work, size)?))
    })?;
    Ok(vec![
        Way::beside("a call", "connections", Flat, cpu),
        Way::beside("memory of all", "connections", Linear, memory).counted_in(Unit::Kibibytes),
    ])
}

/// The time on a core for a request, and the memory of so many connections.
fn of(setting: &Setting, process: &[Process; 1], work: &Work<'_>, size: usize) -> anyhow::Result<[f64; 2]> {
    let before = process[0].resident()?;
    let mut client = Client::connect(process[0].address, size)?.at_once(CONNECTIONS);
    client.run(work, 2 * size as u64, LONG)?;
    let cpu = setting.cpu(process, &mut client, work)?;
    Ok([cpu, process[0].resident()?.saturating_sub(before) as f64])
}
