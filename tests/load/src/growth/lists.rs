//! Tools and resources: what a call, a list and a page of it cost, and the start.

use serde_json::{Value, json};

use crate::client::{Client, Work};
use crate::growth::law::Expected::{Flat, Linear};
use crate::growth::law::Point;
use crate::growth::setting::{Pair, cpu_of};
use crate::growth::{CONNECTIONS, Setting, Unit, Way};
use crate::measure::ask;
use crate::process::Process;
use crate::requests::Era;

/// A small page, beside which everything shows that is done for the others.
const PAGE: usize = 10;

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let sizes = setting.sizes(3..=3000);
    let [start, call, read] = setting.medians(&sizes, |size| {
        let server = [setting.server(&with_all_on_a_page(size))?];
        let start = cpu_of(&server)? / 1e3;
        let uri = format!("page://{}", size - 1);
        let call = |token: &String| Era::Modern.request(token);
        let read = |token: &String| Era::Modern.ask("resources/read", Some(&uri), json!({"uri": uri}), token);
        Ok([start, cost(setting, &server, call)?, cost(setting, &server, read)?])
    })?;
    let [list] = setting.medians_beside(&sizes, |size| {
        let server = [setting.server(&with_all_on_a_page(size))?];
        let all = |token: &String| list_from(None, token);
        let answer = ask(server[0].address, &all(&setting.seen[0]))?;
        let of_server = cost(setting, &server, all)?;
        drop(server);
        Ok(Pair::each([of_server], [cost(setting, &[setting.floor(&answer)?], all)?]))
    })?;
    let [page] = setting.medians(&setting.sizes(30..=3000), |size| {
        let server = [setting.server(&format!("[many]\ntools = {size}\n[mcp]\npage_size = {PAGE}\n"))?];
        let cursor = last_cursor(setting, &server[0])?;
        Ok([cost(setting, &server, |token| list_from(cursor.as_deref(), token))?])
    })?;
    Ok(vec![
        Way::new("from exec to the first answer, time on the core", "tools and resources", Linear, start)
            .counted_in(Unit::Milliseconds),
        Way::new("a call", "tools", Flat, call),
        Way::beside("`tools/list`, all on a page", "tools", Linear, list),
        Way::new("`tools/list`, the last full page of 10", "tools", Flat, page),
        Way::new("`resources/read`", "resources", Flat, read),
        Way::new("`resources/read`, by the last template", "templates", Flat, of_templates(setting)?),
    ])
}

fn with_all_on_a_page(size: usize) -> String {
    format!("[many]\ntools = {size}\nresources = {size}\n[mcp]\npage_size = 10000\n")
}

/// The templates begin with a text of their own each.
fn of_templates(setting: &Setting) -> anyhow::Result<Vec<Point>> {
    let [read] = setting.medians(&setting.sizes(3..=3000), |size| {
        let server = [setting.server(&format!("[many]\ntemplates = {size}\n"))?];
        let uri = format!("pages://{}/1", size - 1);
        let read = |token: &String| Era::Modern.ask("resources/read", Some(&uri), json!({"uri": uri}), token);
        Ok([cost(setting, &server, read)?])
    })?;
    Ok(read)
}

/// The time on a core for a request, all of which have one answer.
pub(super) fn cost(
    setting: &Setting,
    server: &[Process; 1],
    request: impl Fn(&String) -> Vec<u8>,
) -> anyhow::Result<f64> {
    let requests: Vec<Vec<u8>> = setting.seen.iter().map(request).collect();
    cost_of(setting, server, &requests)
}

/// The same of these requests.
pub(super) fn cost_of(setting: &Setting, server: &[Process; 1], requests: &[Vec<u8>]) -> anyhow::Result<f64> {
    let expected = ask(server[0].address, &requests[0])?;
    let text = String::from_utf8_lossy(&expected);
    anyhow::ensure!(text.contains(r#""result":"#), "a wrong answer: {text}");
    let mut client = Client::connect(server[0].address, CONNECTIONS)?;
    setting.cpu(server, &mut client, &Work { requests, expected: &expected })
}

pub(super) fn list_from(cursor: Option<&str>, token: &str) -> Vec<u8> {
    let params = cursor.map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
    Era::Modern.ask("tools/list", None, params, token)
}

/// The cursor of the last page after which there is another.
fn last_cursor(setting: &Setting, server: &Process) -> anyhow::Result<Option<String>> {
    let (mut cursor, mut before) = (None, None);
    loop {
        let answer: Value =
            serde_json::from_slice(&ask(server.address, &list_from(cursor.as_deref(), &setting.seen[0]))?)?;
        match answer["result"]["nextCursor"].as_str() {
            Some(next) => (before, cursor) = (cursor, Some(next.to_owned())),
            None => return Ok(before),
        }
    }
}
