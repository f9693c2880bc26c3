//! `[quota]`: how often subjects, clients, tools and addresses may ask, and whose word counts for an address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use domain::{Rate, Rates, ToolName, ToolQuota};
use hyper_transport::{ForwardedField, IpNet, TrustedProxies};

use super::context::Context;
use super::server::{Bind, Server};
use super::tools::named;
use crate::config::key::{Key, Reload, Text, Texts, Whole, Words, count};
use crate::config::reader::Reader;
use crate::config::shown;

const RATE: Text = Text("rate, such as `600/minute` or `600/minute burst 50`");

static SUBJECT: Key<Text> = Key::new(
    "quota.subject",
    RATE,
    Reload::Applied,
    "how often one subject may ask ([deploy.md](deploy.md#quotas)); empty: as often as it likes",
);
static CLIENT: Key<Text> = Key::new(
    "quota.client",
    RATE,
    Reload::Applied,
    "how often one OAuth client may ask; empty: as often as it likes",
);
static ADDRESS: Key<Text> = Key::new(
    "quota.address",
    RATE,
    Reload::Applied,
    "how often one address may ask, before authentication; empty: as often as it likes",
);
static TRUSTED_PROXIES: Key<Texts> = Key::new(
    "quota.trusted_proxies",
    Texts("networks, addresses, or `unix`"),
    Reload::Applied,
    "proxies that are believed which address a request is from, for `quota.address` alone; `unix`: whoever connects to the Unix socket",
);
static FORWARDED_FIELD: Key<Words<ForwardedField>> = Key::new(
    "quota.forwarded_field",
    Words(&[("x-forwarded-for", ForwardedField::XForwardedFor), ("forwarded", ForwardedField::Forwarded)]),
    Reload::Applied,
    "the header in which those proxies say it; the other one is not read",
);
static WHEN_AWAY: Key<Words<WhenRedisIsAway>> = Key::new(
    "quota.when_redis_is_away",
    Words(&[
        ("count_here", WhenRedisIsAway::CountHere),
        ("allow", WhenRedisIsAway::Allow),
        ("refuse", WhenRedisIsAway::Refuse),
    ]),
    Reload::Applied,
    "with `redis.url`: what happens while it is away: each replica counts by itself, nobody is counted, or who would be counted is \
     refused (503)",
);
static TOOL_SUBJECT: Key<Text> = Key::new(
    "quota.tools.NAME.subject",
    RATE,
    Reload::Applied,
    "how often one subject may call the tool, besides",
)
.or("as often as it likes");
static TOOL_WEIGHT: Key<Whole> = Key::new(
    "quota.tools.NAME.weight",
    count(1, 1000),
    Reload::Applied,
    "as how many requests a call counts, by subject and by client; at most as a whole burst",
)
.or("1");

pub(super) const KEYS: &[&Key] = &[
    &SUBJECT,
    &CLIENT,
    &ADDRESS,
    &TRUSTED_PROXIES,
    &FORWARDED_FIELD,
    &WHEN_AWAY,
    &TOOL_SUBJECT,
    &TOOL_WEIGHT,
];

/// How often subjects, clients, tools and addresses may ask.
#[derive(Debug, Clone, Default)]
pub struct Quota {
    /// The rates.
    pub rates: Rates,
    /// Who is believed what it says of a client's address.
    pub trusted_proxies: TrustedProxies,
    /// What happens to requests that can't be counted together with those of other replicas.
    pub when_redis_is_away: WhenRedisIsAway,
}

/// What happens while Redis is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenRedisIsAway {
    /// Each replica counts by itself.
    #[default]
    CountHere,
    /// Nobody is counted.
    Allow,
    /// Whoever would be counted is refused.
    Refuse,
}

#[expect(clippy::ref_option, reason = "sections are handed on as they are")]
pub(super) fn read(
    read: &mut Reader,
    context: &Context<'_>,
    server: &Server,
    redis: &Option<redis_shared::Options>,
) -> Quota {
    let [subject, client, address] = [&SUBJECT, &CLIENT, &ADDRESS]
        .map(|key| read.text_of(key, &[]).and_then(|text| rate(read, key.name, &text)));
    let trusted_proxies = trusted_proxies(read);
    let tools = tools(read, context).into_iter().collect::<HashMap<_, _>>();
    if address.is_some() && matches!(server.bind, Bind::Unix(_)) && !trusted_proxies.unix {
        read.warn(
            ADDRESS.name,
            "counts all clients as one: nobody has an address at a Unix socket. If a proxy connects to it, put \"unix\" into \
             quota.trusted_proxies"
                .to_owned(),
        );
    }
    let when_redis_is_away = read.choice(&WHEN_AWAY).unwrap_or_default();
    if redis.is_none() && when_redis_is_away != WhenRedisIsAway::default() {
        read.warn(WHEN_AWAY.name, "does nothing without redis.url".to_owned());
    }
    Quota { rates: Rates { subject, client, address, tools }, trusted_proxies, when_redis_is_away }
}

fn rate(read: &mut Reader, key: &str, text: &str) -> Option<Rate> {
    if text.is_empty() {
        return None;
    }
    let rate = Rate::parse(text);
    rate.map_err(|error| read.problem(key, format!("{error}, not {}", shown::text(text)))).ok()
}

fn trusted_proxies(read: &mut Reader) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    for text in read.texts(&TRUSTED_PROXIES) {
        match (text.as_str(), network(&text)) {
            ("unix", _) => trusted.unix = true,
            (_, Some(network)) => trusted.networks.push(network),
            (_, None) => {
                let text = shown::text(&text);
                read.problem(
                    TRUSTED_PROXIES.name,
                    format!(
                        "{text} is no network, such as 10.0.0.0/8 or fd00::/8, and no address; nor is it unix"
                    ),
                );
            }
        }
    }
    if trusted.networks.iter().any(|network| network.prefix_len() == 0) {
        read.warn(
            TRUSTED_PROXIES.name,
            "has a network of all addresses: every client may choose the address that it is counted by"
                .to_owned(),
        );
    }
    trusted.field = read.choice(&FORWARDED_FIELD).unwrap_or_default();
    trusted
}

/// Reads a network or an address. Addresses of IPv4 are compared in their own spelling, so that is what a network of them gets.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let mapped = network.prefix_len().checked_sub(96).filter(|_| network.addr().is_ipv6());
    match (mapped, network.addr().to_canonical()) {
        (Some(bits), address @ IpAddr::V4(_)) => IpNet::new(address, bits).ok(),
        _ => Some(network),
    }
}

fn tools(read: &mut Reader, context: &Context<'_>) -> BTreeMap<ToolName, ToolQuota> {
    let mut quotas = BTreeMap::new();
    for name in read.tables(&["quota", "tools"]) {
        let table = ["quota".to_owned(), "tools".to_owned(), name.clone()];
        let (tool, warning) = match named(context, &name) {
            Ok(named) => named,
            Err(message) => {
                read.reject_table(&table, message);
                continue;
            }
        };
        let key = shown::key(&TOOL_SUBJECT.path(&[&name]));
        let subject = read.text_of(&TOOL_SUBJECT, &[&name]).and_then(|text| rate(read, &key, &text));
        let weight = read.whole_of(&TOOL_WEIGHT, &[&name]).unwrap_or(1);
        if let Some(warning) = warning {
            read.warn(&shown::key(&table), warning);
        }
        quotas.insert(tool, ToolQuota { subject, weight });
    }
    quotas
}
