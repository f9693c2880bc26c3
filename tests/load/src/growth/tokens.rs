//! Tokens: with many scopes, with a scope that stands for others, and signed with one of many keys.

use std::fmt::Write as _;
use std::time::Duration;

use local_tenant::Fault;

use crate::client::{Client, Work};
use crate::growth::law::Expected::{Flat, Linear};
use crate::growth::law::Point;
use crate::growth::lists::{cost_of, list_from};
use crate::growth::setting::{LEVELS, SCOPE, SCOPES, cpu_of, level, other_scope};
use crate::growth::{CONNECTIONS, Setting, Way};
use crate::measure::{SEEN, ask};
use crate::process::Process;
use crate::requests::{Era, tokens_with};

/// Tokens for each second of a measurement that a server has never seen before.
const UNSEEN: f64 = 1000.0;
const LONG: Duration = Duration::from_mins(2);

pub(super) fn of_scopes(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let sizes = setting.sizes(1..=SCOPES);
    let tokens = |size: &usize| {
        let scope = joined((1..*size).map(other_scope).chain([SCOPE.to_owned()]));
        Ok((*size, calls(setting, &scope, SEEN)?, calls(setting, &scope, unseen(setting))?))
    };
    let tokens: Vec<_> = sizes.iter().map(tokens).collect::<anyhow::Result<_>>()?;
    let [seen, unseen] = setting.medians(&sizes, |size| {
        let mut of_size = tokens.iter().filter(|(other, ..)| *other == size);
        let (_, seen, unseen) = of_size.next().unwrap_or(&tokens[0]);
        let server = [setting.server("")?];
        Ok([of_seen(setting, &server, seen)?, of_unseen(&server, seen, unseen)?])
    })?;
    let list = of_lists(setting, &sizes, |size| joined((1..=size).map(other_scope)), |_| String::new())?;
    Ok(vec![
        Way::new("a call, a seen token", "scopes in the token", Linear, seen),
        Way::new("a call, an unseen token", "scopes in the token", Linear, unseen),
        Way::new("`tools/list`", "tools, each with a scope of its own in the token", Linear, list),
    ])
}

fn joined(scopes: impl Iterator<Item = String>) -> String {
    scopes.collect::<Vec<_>>().join(" ")
}

/// A token with one scope, from which it is so many steps to the one that is asked for.
pub(super) fn of_depth(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let sizes = setting.sizes(1..=LEVELS);
    let [cpu] = setting.medians(&sizes, |size| {
        let server = [setting.server(&format!("{}{}", with_scopes(size), steps(size)))?];
        Ok([of_seen(setting, &server, &calls(setting, &level(size), SEEN)?)?])
    })?;
    let list = of_lists(setting, &sizes, level, steps)?;
    Ok(vec![
        Way::new("a call", "scopes on the way to the one that is needed", Flat, cpu),
        Way::new("`tools/list`", "tools, each a step further from the token's scope", Linear, list),
    ])
}

/// What each scope of a level stands for: the one of the level below, and one of a tool.
fn steps(size: usize) -> String {
    let mut config = "[scopes.implies]\n".to_owned();
    for number in 1..=size {
        let narrower = if number == 1 { SCOPE.to_owned() } else { level(number - 1) };
        let _ = writeln!(config, "\"{}\" = [\"{narrower}\", \"{}\"]", level(number), other_scope(number));
    }
    config
}

/// So many tools, each of which takes a scope of its own.
fn with_scopes(size: usize) -> String {
    format!("[many]\ntools = {size}\nscopes = {size}\n[mcp]\npage_size = 10000\n")
}

/// The list of so many tools, each of which takes a scope of its own, for a token with this scope, with this configuration besides.
fn of_lists(
    setting: &Setting,
    sizes: &[usize],
    scope: impl Fn(usize) -> String,
    config: impl Fn(usize) -> String,
) -> anyhow::Result<Vec<Point>> {
    let [list] = setting.medians(sizes, |size| {
        let server = [setting.server(&format!("{}{}", with_scopes(size), config(size)))?];
        let tokens = tokens_of(setting, &scope(size), SEEN)?;
        let requests: Vec<Vec<u8>> = tokens.iter().map(|token| list_from(None, token)).collect();
        let answer = ask(server[0].address, &requests[0])?;
        let listed = String::from_utf8_lossy(&answer).matches(r#""name":"tool_"#).count();
        anyhow::ensure!(listed == size, "{listed} of {size} tools are listed");
        Ok([cost_of(setting, &server, &requests)?])
    })?;
    Ok(list)
}

/// The tokens are signed with the oldest key.
pub(super) fn of_keys(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let seen = calls(setting, SCOPE, SEEN)?;
    let unseen = calls(setting, SCOPE, unseen(setting))?;
    let mut published = 2;
    let mut points = Vec::new();
    for size in setting.sizes(2..=100) {
        while published < size {
            setting.tenant.inject(&Fault::RotateKeys);
            published += 1;
        }
        let [cpu] = setting.medians(&[size], |_| {
            let server = [setting.server("")?];
            Ok([of_unseen(&server, &seen, &unseen)?])
        })?;
        points.extend(cpu);
    }
    Ok(vec![Way::new("a call, an unseen token", "keys of the tenant", Flat, points)])
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
fn unseen(setting: &Setting) -> usize {
    (UNSEEN * setting.seconds).ceil() as usize
}

fn calls(setting: &Setting, scope: &str, count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    Ok(tokens_of(setting, scope, count)?.iter().map(|token| Era::Modern.request(token)).collect())
}

fn tokens_of(setting: &Setting, scope: &str, count: usize) -> anyhow::Result<Vec<String>> {
    Setting::on_all_cores(|| tokens_with(Some(scope), &setting.tenant, count))
}

fn of_seen(setting: &Setting, server: &[Process; 1], requests: &[Vec<u8>]) -> anyhow::Result<f64> {
    let expected = checked(server, &requests[0])?;
    let mut client = Client::connect(server[0].address, CONNECTIONS)?;
    setting.cpu(server, &mut client, &Work { requests, expected: &expected })
}

/// Each of the tokens once, after others.
fn of_unseen(server: &[Process; 1], seen: &[Vec<u8>], unseen: &[Vec<u8>]) -> anyhow::Result<f64> {
    let expected = checked(server, &seen[0])?;
    let mut client = Client::connect(server[0].address, CONNECTIONS)?;
    client.run(&Work { requests: seen, expected: &expected }, 10 * seen.len() as u64, LONG)?;
    let before = cpu_of(server)?;
    client.run(&Work { requests: unseen, expected: &expected }, unseen.len() as u64, LONG)?;
    Ok((cpu_of(server)? - before) / unseen.len() as f64)
}

fn checked(server: &[Process; 1], request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let answer = ask(server[0].address, request)?;
    Era::Modern.check(&answer)?;
    Ok(answer)
}
