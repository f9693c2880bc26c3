//! Tokens: with many scopes, with a scope that stands for others, and signed with one of many keys.

use std::fmt::Write as _;
use std::time::Duration;

use local_tenant::Fault;

use crate::client::{Client, Work};
use crate::growth::law::Expected::{Flat, Linear};
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
        let names: Vec<String> = (1..*size).map(other_scope).chain([SCOPE.to_owned()]).collect();
        let scope = names.join(" ");
        Ok((*size, calls(setting, &scope, SEEN)?, calls(setting, &scope, unseen(setting))?))
    };
    let tokens: Vec<_> = sizes.iter().map(tokens).collect::<anyhow::Result<_>>()?;
    let [seen, unseen] = setting.medians(&sizes, |size| {
        let mut of_size = tokens.iter().filter(|(other, ..)| *other == size);
        let (_, seen, unseen) = of_size.next().unwrap_or(&tokens[0]);
        let server = [setting.server("")?];
        Ok([of_seen(setting, &server, seen)?, of_unseen(&server, seen, unseen)?])
    })?;
    Ok(vec![
        Way::new("a call, a seen token", "scopes in the token", Linear, seen),
        Way::new("a call, an unseen token", "scopes in the token", Linear, unseen),
    ])
}

/// A token with one scope, from which it is so many steps to the one that is asked for.
pub(super) fn of_depth(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let [cpu] = setting.medians(&setting.sizes(1..=LEVELS), |size| {
        let mut config = "[scopes.implies]\n".to_owned();
        for number in 1..=size {
            let narrower = if number == 1 { SCOPE.to_owned() } else { level(number - 1) };
            let _ = writeln!(config, "\"{}\" = [\"{narrower}\"]", level(number));
        }
        let server = [setting.server(&config)?];
        Ok([of_seen(setting, &server, &calls(setting, &level(size), SEEN)?)?])
    })?;
    Ok(vec![Way::new("a call", "scopes on the way to the one that is needed", Flat, cpu)])
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
    let tokens = Setting::on_all_cores(|| tokens_with(Some(scope), &setting.tenant, count))?;
    Ok(tokens.iter().map(|token| Era::Modern.request(token)).collect())
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
