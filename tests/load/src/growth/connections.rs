//! Connections: all of them are open, and each has its turn.

use std::time::Duration;

use crate::client::{Client, Work};
use crate::growth::law::Expected::{Flat, Linear};
use crate::growth::{CONNECTIONS, Setting, Unit, Way};
use crate::measure::ask;
use crate::requests::Era;

const LONG: Duration = Duration::from_mins(2);

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let requests: Vec<Vec<u8>> = setting.seen.iter().map(|token| Era::Modern.request(token)).collect();
    let [cpu, memory] = setting.medians(&setting.sizes(32..=10_000), |size| {
        let server = [setting.server("")?];
        let expected = ask(server[0].address, &requests[0])?;
        let work = Work { requests: &requests, expected: &expected };
        let before = server[0].resident()?;
        let mut client = Client::connect(server[0].address, size)?.at_once(CONNECTIONS);
        client.run(&work, 2 * size as u64, LONG)?;
        let cpu = setting.cpu(&server, &mut client, &work)?;
        Ok([cpu, server[0].resident()?.saturating_sub(before) as f64])
    })?;
    Ok(vec![
        Way::new("a call", "connections", Flat, cpu),
        Way::new("memory of all", "connections", Linear, memory).counted_in(Unit::Kibibytes),
    ])
}
