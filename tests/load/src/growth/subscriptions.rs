//! Subscriptions: how long it takes until a change has reached the first of them, and the last.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::client::now;
use crate::growth::law::Expected::{Flat, Linear};
use crate::growth::law::Point;
use crate::growth::setting::{Pair, cpu_of};
use crate::growth::streams::{Came, Streams};
use crate::growth::{Setting, Unit, Way};
use crate::measure::{answer, median};
use crate::process::Process;
use crate::requests::Era;

/// What a listener gets when the list has changed, as its request asks for it.
const CHANGED: &str = r#"event: message
data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}

"#;
const UPDATED: &str = r#""method":"notifications/resources/updated","params":{"uri":"page://0","#;
/// Of one server, for each of the rounds.
const CHANGES: usize = 4;
/// Where it is about how much there is to compare for each.
const LISTENERS: usize = 1000;

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let [cpu, first, last, reload] = setting.medians_beside(&setting.sizes(10..=10_000), |size| {
        let (server, [cpu, first, last]) = (of_server(setting, size)?, of_floor(setting, size)?);
        // Bare hyper has nothing to read again.
        Ok(Pair::each(server, [cpu, first, last, last]))
    })?;
    let way =
        |what, figures| Way::beside(what, "subscriptions", Linear, figures).counted_in(Unit::Milliseconds);
    Ok(vec![
        way("an announced change, time on the core", cpu),
        way("an announced change, to the first", first),
        way("an announced change, to the last", last),
        way("a reload that changes a list, to the last", reload),
        Way::new(
            "an update of a resource, to its only listener",
            "subscriptions",
            Flat,
            of_updates(setting)?,
        )
        .counted_in(Unit::Milliseconds),
        Way::new("a reload that changes a list, to the last of 1000", "tools", Linear, of_tools(setting)?)
            .counted_in(Unit::Milliseconds),
    ])
}

/// With subscriptions to something else.
fn of_updates(setting: &Setting) -> anyhow::Result<Vec<Point>> {
    let [update] = setting.medians(&setting.sizes(10..=10_000), |size| {
        let server = setting.server("[many]\nresources = 2\n")?;
        let to = |page: &str| json!({"resourceSubscriptions": [page]});
        let _others = listen_to(setting, &server, size, &to("page://1"))?;
        let mut listener = listen_to(setting, &server, 1, &to("page://0"))?;
        let updates: Vec<Came> = (0..CHANGES)
            .map(|_| announced_by("update", UPDATED, setting, &server, &mut listener))
            .collect::<anyhow::Result<_>>()?;
        Ok([middle(&updates)[1]])
    })?;
    Ok(update)
}

/// With so many tools in the list.
fn of_tools(setting: &Setting) -> anyhow::Result<Vec<Point>> {
    let [reload] = setting.medians(&setting.sizes(10..=3000), |size| {
        let server = setting.server(&config(size, true))?;
        let mut listeners = listen(setting, &server, setting.at_most(LISTENERS))?;
        let reloads: Vec<Came> = (0..CHANGES)
            .map(|change| reloaded(setting, &server, &mut listeners, &config(size, change % 2 == 1)))
            .collect::<anyhow::Result<_>>()?;
        Ok([middle(&reloads)[1]])
    })?;
    Ok(reload)
}

/// What an announced change costs, when the first and the last have it, and when the last has that of a reload.
fn of_server(setting: &Setting, size: usize) -> anyhow::Result<[f64; 4]> {
    let server = [setting.server(&config(10, true))?];
    let mut listeners = listen(setting, &server[0], size)?;
    let [cpu, first, last] = announces(setting, &server, &mut listeners)?;
    let reloads: Vec<Came> = (0..CHANGES)
        .map(|change| reloaded(setting, &server[0], &mut listeners, &config(10, change % 2 == 1)))
        .collect::<anyhow::Result<_>>()?;
    Ok([cpu, first, last, middle(&reloads)[1]])
}

/// The same of bare hyper, which has the same events to send.
fn of_floor(setting: &Setting, size: usize) -> anyhow::Result<[f64; 3]> {
    let first = begun(&json!({"toolsListChanged": true}));
    let floor = [setting.listening_floor(first.as_bytes(), CHANGED.as_bytes())?];
    let mut listeners = listen(setting, &floor[0], size)?;
    announces(setting, &floor, &mut listeners)
}

/// The time on the core for a change that is announced, and when the first and the last have it, all in milliseconds.
fn announces(setting: &Setting, server: &[Process; 1], listeners: &mut Streams) -> anyhow::Result<[f64; 3]> {
    let before = cpu_of(server)?;
    let announces: Vec<Came> =
        (0..CHANGES).map(|_| announce(setting, &server[0], listeners)).collect::<anyhow::Result<_>>()?;
    let cpu = (cpu_of(server)? - before) / 1e3 / CHANGES as f64;
    let [first, last] = middle(&announces);
    Ok([cpu, first, last])
}

/// What a listener gets first.
fn begun(to: &Value) -> String {
    format!(
        "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":\
         {{\"notifications\":{to},\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":7}}}}}}\n\n"
    )
}

fn middle(all: &[Came]) -> [f64; 2] {
    [median(all.iter().map(|came| came.first)), median(all.iter().map(|came| came.last))]
}

/// So many tools, of which one may be switched off.
fn config(tools: usize, is_enabled: bool) -> String {
    format!("[many]\ntools = {tools}\n[tools.tool_0]\nenabled = {is_enabled}\n")
}

/// So many subscriptions to the list of tools that have begun.
pub(super) fn listen(setting: &Setting, server: &Process, count: usize) -> anyhow::Result<Streams> {
    listen_to(setting, server, count, &json!({"toolsListChanged": true}))
}

fn listen_to(setting: &Setting, server: &Process, count: usize, to: &Value) -> anyhow::Result<Streams> {
    let begun = begun(to);
    let params = json!({"notifications": to});
    let request = Era::Modern.ask("subscriptions/listen", None, params, &setting.seen[0]);
    let mut listeners = Streams::open(server.address, count, &request)?;
    listeners.begin(&begun)?;
    Ok(listeners)
}

/// Has a server announce a change, and waits until all listeners have heard of it.
pub(super) fn announce(setting: &Setting, server: &Process, listeners: &mut Streams) -> anyhow::Result<Came> {
    announced_by("announce", CHANGED, setting, server, listeners)
}

fn announced_by(
    tool: &str,
    event: &str,
    setting: &Setting,
    server: &Process,
    listeners: &mut Streams,
) -> anyhow::Result<Came> {
    let params = json!({"name": tool, "arguments": {}});
    let request = Era::Modern.ask("tools/call", Some(tool), params, &setting.seen[0]);
    let mut caller = TcpStream::connect(server.address)?;
    let began = now();
    caller.write_all(&request)?;
    let came = listeners.have_all(event, began)?;
    answer(&mut caller)?;
    Ok(came)
}

/// Has a server read another configuration, and waits until all listeners have heard of it.
fn reloaded(
    setting: &Setting,
    server: &Process,
    listeners: &mut Streams,
    config: &str,
) -> anyhow::Result<Came> {
    setting.configure(config)?;
    let began = now();
    server.reload()?;
    listeners.have_all(CHANGED, began)
}
