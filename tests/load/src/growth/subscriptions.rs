//! Subscriptions: how long it takes until a change has reached the first of them, and the last.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;

use crate::client::now;
use crate::growth::law::Expected::Linear;
use crate::growth::streams::{Came, Streams};
use crate::growth::{Setting, Unit, Way};
use crate::measure::{answer, median};
use crate::process::Process;
use crate::requests::Era;

const CHANGED: &str = "tools/list_changed";
/// Of one server, for each of the rounds.
const CHANGES: usize = 4;

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let [first, last, reload] = setting.medians(&setting.sizes(10..=10_000), |size| {
        let server = setting.server(&config(true))?;
        let mut listeners = listen(setting, &server, size)?;
        let mut announced = Vec::new();
        let mut reloaded = Vec::new();
        for change in 0..CHANGES {
            announced.push(announce(setting, &server, &mut listeners)?);
            setting.configure(&config(change % 2 == 1))?;
            let began = now();
            server.reload()?;
            reloaded.push(listeners.have_all(CHANGED, began)?);
        }
        let middle = |all: &[Came], of: fn(&Came) -> f64| median(all.iter().map(of));
        Ok([
            middle(&announced, |came| came.first),
            middle(&announced, |came| came.last),
            middle(&reloaded, |came| came.last),
        ])
    })?;
    let way = |what, points| Way::new(what, "subscriptions", Linear, points).counted_in(Unit::Milliseconds);
    Ok(vec![
        way("an announced change, to the first", first),
        way("an announced change, to the last", last),
        way("a reload that changes a list, to the last", reload),
    ])
}

/// Ten tools, of which one may be switched off.
fn config(is_enabled: bool) -> String {
    format!("[many]\ntools = 10\n[tools.tool_0]\nenabled = {is_enabled}\n")
}

/// So many subscriptions that have begun.
pub(super) fn listen(setting: &Setting, server: &Process, count: usize) -> anyhow::Result<Streams> {
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let request = Era::Modern.ask("subscriptions/listen", None, filter, &setting.seen[0]);
    let mut listeners = Streams::open(server.address, count, &request)?;
    listeners.begin("subscriptions/acknowledged")?;
    Ok(listeners)
}

/// Has a server announce a change, and waits until all listeners have heard of it.
pub(super) fn announce(setting: &Setting, server: &Process, listeners: &mut Streams) -> anyhow::Result<Came> {
    let params = json!({"name": "announce", "arguments": {}});
    let request = Era::Modern.ask("tools/call", Some("announce"), params, &setting.seen[0]);
    let mut caller = TcpStream::connect(server.address)?;
    let began = now();
    caller.write_all(&request)?;
    let came = listeners.have_all(CHANGED, began)?;
    answer(&mut caller)?;
    Ok(came)
}
