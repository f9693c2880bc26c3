//! `[rules]`: rules beyond scopes, on claims, clients, logins and arguments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use access_rules::{Conditions, Covers, LoginClaims, Pattern, Rule, RuleSet};
use domain::{AccessRules, CustomClaims, MethodSpec, Schema, Scope, ScopeSet};
use jwks_verifier::IdentityProvider;
use serde_json::{Value, json};
use syntax::strict_json;

use super::context::{Completeness, Context};
use super::tools::{named, scopes_of};
use crate::config::key::{DAY, Flag, Key, Reload, Text, Texts, seconds};
use crate::config::reader::Reader;
use crate::config::shown;

/// A key of one rule's table.
const fn of_rule<V: Copy>(
    name: &'static str,
    values: V,
    meaning: &'static str,
    fallback: &'static str,
) -> Key<V> {
    Key::new(name, values, Reload::Applied, meaning).or(fallback)
}

static AUTH_TIME_CLAIM: Key<Text> = Key::new(
    "rules.auth_time_claim",
    Text("`auth_time`, or the URL of a custom claim"),
    Reload::Applied,
    "the claim that says when the user logged in, in seconds since 1970 ([rules.md](rules.md#the-login))",
);
static ACR_CLAIM: Key<Text> = Key::new(
    "rules.acr_claim",
    Text("`acr`, or the URL of a custom claim"),
    Reload::Applied,
    "the claim that says by which authentication context class",
);
static TOOLS: Key<Texts> = of_rule(
    "rules.NAME.tools",
    Texts("names, or beginnings with `*` after them"),
    "which tools the rule covers ([rules.md](rules.md))",
    "none",
);
static RESOURCES: Key<Texts> = of_rule(
    "rules.NAME.resources",
    Texts("URIs or templates, or beginnings with `*` after them"),
    "which resources",
    "none",
);
static PROMPTS: Key<Texts> =
    of_rule("rules.NAME.prompts", Texts("names, or beginnings with `*` after them"), "which prompts", "none");
static METHODS: Key<Texts> = of_rule(
    "rules.NAME.methods",
    Texts("names, or beginnings with `*` after them"),
    "which methods of the server's own",
    "none",
);
static SHADOW: Key<Flag> =
    of_rule("rules.NAME.shadow", Flag, "whether it only records what it would refuse", "`false`");
static ORGANIZATIONS: Key<Texts> = of_rule(
    "rules.NAME.organizations",
    Texts("ids"),
    "the organizations one of which the login must be through (`org_id`)",
    "any, or none",
);
static CLAIMS: Key<Texts> = of_rule(
    "rules.NAME.claims.\"CLAIM\"",
    Texts("values"),
    "the values one of which the custom claim must have, or have in its list",
    "any, or none",
);
static CLIENTS: Key<Texts> =
    of_rule("rules.NAME.clients", Texts("client ids"), "the OAuth clients one of which it must be", "any");
static THIRD_PARTY_CLIENTS: Key<Flag> = of_rule(
    "rules.NAME.third_party_clients",
    Flag,
    "whether clients of third parties may: those that registered themselves, or are known by a URL",
    "`true`",
);
static MAX_AGE: Key<crate::config::key::Whole> = of_rule(
    "rules.NAME.max_age_seconds",
    seconds(1, 365 * DAY),
    "how long ago the login may be; beyond it a 401 asks for another (RFC 9470)",
    "any",
);
static ACR: Key<Texts> = of_rule(
    "rules.NAME.acr",
    Texts("authentication context classes"),
    "those one of which the login must be of, the preferred one first; otherwise a 401 asks for one",
    "any",
);
static ARGUMENTS: Key<Text> = of_rule(
    "rules.NAME.arguments",
    Text("JSON Schema 2020-12, as JSON text"),
    "what a tool's arguments must fit, beside the tool's own schema",
    "any",
);
static UNLESS_SCOPES: Key<Texts> = of_rule(
    "rules.NAME.unless_scopes",
    Texts("scopes"),
    "whoever has all of them is exempt; others get a 403 that names them",
    "nobody is exempt",
);

pub(super) const KEYS: &[&Key] = &[
    &AUTH_TIME_CLAIM,
    &ACR_CLAIM,
    &TOOLS,
    &RESOURCES,
    &PROMPTS,
    &METHODS,
    &SHADOW,
    &ORGANIZATIONS,
    &CLAIMS,
    &CLIENTS,
    &THIRD_PARTY_CLIENTS,
    &MAX_AGE,
    &ACR,
    &ARGUMENTS,
    &UNLESS_SCOPES,
];

/// The maximum number of rules, which are metrics, too, and the length of a rule's name.
const MAX_RULES: usize = 100;
const MAX_NAME: usize = 64;

/// Rules beyond scopes.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Arc<[Rule]>,
    login: LoginClaims,
}

impl Rules {
    /// Returns the rules, for clients as this provider tells them apart; `None` without any, so that they cost no request anything.
    #[must_use]
    pub fn access(&self, provider: &Arc<dyn IdentityProvider>) -> Option<Arc<dyn AccessRules>> {
        let provider = Arc::clone(provider);
        let is_third_party = Arc::new(move |client: &str| provider.is_third_party(client));
        let set = RuleSet::new(Arc::clone(&self.rules), self.login.clone(), is_third_party);
        (!self.rules.is_empty()).then(|| Arc::new(set) as _)
    }

    /// Returns the scopes that exempt from a rule.
    #[must_use]
    pub fn exempting_scopes(&self) -> ScopeSet {
        self.rules.iter().flat_map(|rule| rule.unless_scopes.iter()).cloned().collect()
    }

    /// Returns the claims that say when and how the user logged in.
    #[must_use]
    pub const fn login_claims(&self) -> &LoginClaims {
        &self.login
    }
}

pub(super) fn read(read: &mut Reader, context: &Context<'_>) -> Rules {
    let names = read.tables(&["rules"]);
    if names.len() > MAX_RULES {
        read.problem("rules", format!("has {} rules, and {MAX_RULES} are the most", names.len()));
    }
    let rules: Vec<Rule> = names.iter().filter_map(|name| rule(read, context, name)).collect();
    let login = LoginClaims {
        auth_time: login_claim(
            read,
            context,
            &AUTH_TIME_CLAIM,
            "auth_time",
            &|rule| rule.max_age.is_some(),
            &rules,
        ),
        acr: login_claim(read, context, &ACR_CLAIM, "acr", &|rule| !rule.acr.is_empty(), &rules),
    };
    Rules { rules: rules.into(), login }
}

/// Reads the name of a claim about the login, and warns if the provider never issues it where a rule needs it.
fn login_claim(
    read: &mut Reader,
    context: &Context<'_>,
    key: &Key<Text>,
    registered: &str,
    is_needed: &dyn Fn(&Conditions) -> bool,
    rules: &[Rule],
) -> Option<String> {
    let name = read.text(key);
    let claim = LoginClaims::named(&name, registered);
    let claim = claim.unwrap_or_else(|message| {
        read.problem(key.name, message);
        None
    });
    let hint = context.provider.hints().login_claims;
    if name == registered && !hint.is_empty() && rules.iter().any(|rule| is_needed(&rule.conditions)) {
        read.warn(key.name, format!("is {registered:?}, and a rule needs it; {hint}"));
    }
    claim
}

/// Reads the whole table, whatever is wrong with a part of it.
fn rule(read: &mut Reader, context: &Context<'_>, name: &str) -> Option<Rule> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let table = ["rules".to_owned(), name.to_owned()];
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
        let message = format!("must be a name of letters, digits, `_` and `-`, at most {MAX_NAME} of them");
        read.reject_table(&table, message);
        return None;
    }
    let rule = Rule {
        name: name.into(),
        is_shadow: read.flag_of(&SHADOW, &[name]).unwrap_or(false),
        covers: covers(read, context, name),
        conditions: conditions(read, name),
        unless_scopes: exempting(read, name),
    };
    let Covers { tools, resources, prompts, methods } = &rule.covers;
    let key = shown::key(&table);
    let covers_others = !(resources.is_empty() && prompts.is_empty() && methods.is_empty());
    if tools.is_empty() && !covers_others {
        read.problem(&key, "covers nothing: name tools, resources, prompts or methods");
    }
    if rule.conditions.is_empty() {
        let message = "has no condition: set organizations, claims, clients, third_party_clients = false, max_age_seconds, acr \
                       or arguments";
        read.problem(&key, message);
    }
    if rule.conditions.arguments.is_some() && covers_others {
        let key = shown::key(&ARGUMENTS.path(&[name]));
        read.problem(&key, "is of tools alone: put resources, prompts and methods into a rule of their own");
    }
    Some(rule)
}

fn covers(read: &mut Reader, context: &Context<'_>, name: &str) -> Covers {
    let catalog = context.catalog;
    let tools = texts(read, &TOOLS, &[name]);
    for tool in tools.iter().filter(|tool| !tool.ends_with('*')) {
        let key = shown::key(&TOOLS.path(&[name]));
        match named(context, tool) {
            Ok((_, None)) => {}
            Ok((_, Some(warning))) => read.warn(&key, format!("{}: {warning}", shown::text(tool))),
            Err(message) => read.problem(&key, format!("{}: {message}", shown::text(tool))),
        }
    }
    let of_tools = tools.iter().filter(|tool| tool.ends_with('*')).cloned().collect::<Vec<_>>();
    let known = catalog.tools.specs().map(|spec| spec.name.as_str()).collect::<Vec<_>>();
    check_names(read, context, &shown::key(&TOOLS.path(&[name])), &of_tools, &known);
    let [resources, prompts, methods] =
        [&RESOURCES, &PROMPTS, &METHODS].map(|key| (key, texts(read, key, &[name])));
    let known_resources = catalog.resources.specs().map(|spec| spec.address.as_str()).collect();
    let known_prompts = catalog.prompts.specs().map(|spec| spec.name.as_str()).collect();
    let known_methods = catalog.methods.specs().map(MethodSpec::name).collect();
    let others: [(_, Vec<&str>); 3] =
        [(&resources, known_resources), (&prompts, known_prompts), (&methods, known_methods)];
    for ((key, names), known) in others {
        check_names(read, context, &shown::key(&key.path(&[name])), names, &known);
    }
    let patterns = |names: Vec<String>| names.iter().map(|name| Pattern::new(name)).collect();
    Covers {
        tools: patterns(tools),
        resources: patterns(resources.1),
        prompts: patterns(prompts.1),
        methods: patterns(methods.1),
    }
}

/// Notes names that nothing on offer has, or begins with: as faults, or where something may still come as warnings.
fn check_names(read: &mut Reader, context: &Context<'_>, key: &str, names: &[String], known: &[&str]) {
    for name in names {
        let pattern = Pattern::new(name);
        if known.iter().any(|known| pattern.fits(known)) {
            continue;
        }
        let message = format!("{}: nothing on offer fits; there is {}", shown::text(name), listed(known));
        match context.completeness {
            Completeness::Complete => read.problem(key, message),
            Completeness::Partial => {}
            Completeness::Changing(_) => read.warn(key, message),
        }
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn conditions(read: &mut Reader, name: &str) -> Conditions {
    let claims = claims(read, name);
    let acr = texts(read, &ACR, &[name]);
    for class in acr.iter().filter(|class| !is_class(class)) {
        let key = shown::key(&ACR.path(&[name]));
        let class = shown::text(class);
        read.problem(
            &key,
            format!("{class} can't be in a challenge: visible ASCII without quotes and backslashes"),
        );
    }
    Conditions {
        organizations: texts(read, &ORGANIZATIONS, &[name]),
        claims,
        clients: texts(read, &CLIENTS, &[name]),
        third_party_clients: read.flag_of(&THIRD_PARTY_CLIENTS, &[name]).unwrap_or(true),
        max_age: read.seconds_of(&MAX_AGE, &[name]).filter(|age| *age > Duration::ZERO),
        acr: acr.iter().map(|class| class.as_str().into()).collect(),
        arguments: arguments(read, name),
    }
}

/// RFC 9470 section 3: the classes stand in a quoted string, separated by spaces.
fn is_class(class: &str) -> bool {
    class.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn claims(read: &mut Reader, name: &str) -> BTreeMap<String, Vec<String>> {
    let mut claims = BTreeMap::new();
    for claim in read.names(&["rules", name, "claims"]) {
        let values = texts(read, &CLAIMS, &[name, &claim]);
        if !CustomClaims::is_name(&claim) {
            let key = shown::key(&CLAIMS.path(&[name, &claim]));
            read.problem(
                &key,
                "must be named by an https or http URL, as custom claims are; others have keys of their own",
            );
        }
        claims.insert(claim, values);
    }
    claims
}

fn arguments(read: &mut Reader, name: &str) -> Option<Schema> {
    let text = read.text_of(&ARGUMENTS, &[name])?;
    let schema = schema(&text);
    schema.map_err(|message| read.problem(&shown::key(&ARGUMENTS.path(&[name])), message)).ok()
}

/// The keywords of JSON Schema 2020-12 that can refuse an object.
const REFUSING: [&str; 20] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "required",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "maxProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "const",
    "enum",
    "$ref",
    "$dynamicRef",
    "dependencies",
];

/// Arguments are always an object, so the schema need not say it.
fn schema(text: &str) -> Result<Schema, String> {
    let json = strict_json::parse::<Value>(text.as_bytes());
    let mut json = json.map_err(|error| format!("must be a JSON Schema, as JSON text: {error}"))?;
    let Some(members) = json.as_object_mut() else {
        return Err("must be a JSON Schema, which is an object".to_owned());
    };
    if members.is_empty() {
        return Err("is an empty schema, which everything fits".to_owned());
    }
    let may_refuse = members.keys().any(|keyword| REFUSING.contains(&keyword.as_str()));
    members.entry("type").or_insert_with(|| json!("object"));
    let schema = Schema::with_linear_patterns(json).map_err(|error| error.to_string())?;
    if may_refuse {
        Ok(schema)
    } else {
        Err("refuses no arguments: at its top it needs a keyword for objects, such as `properties` or `required`".to_owned())
    }
}

fn exempting(read: &mut Reader, name: &str) -> ScopeSet {
    let scopes = scopes_of(read, &UNLESS_SCOPES, &[name]);
    let is_empty = scopes.as_ref().is_some_and(ScopeSet::is_empty);
    let offline = |scope: &Scope| scope.as_str() == "offline_access";
    let key = shown::key(&UNLESS_SCOPES.path(&[name]));
    if is_empty {
        read.problem(&key, "is an empty list: leave it out, or name scopes");
    }
    if scopes.as_ref().is_some_and(|scopes| scopes.iter().any(offline)) {
        read.problem(&key, "must not hold offline_access: it permits nothing here");
    }
    scopes.unwrap_or_default()
}

/// Reads a list that is left out or not empty: an empty one could be meant either way.
fn texts(read: &mut Reader, key: &Key<Texts>, names: &[&str]) -> Vec<String> {
    let texts = read.texts_of(key, names);
    if texts.as_ref().is_some_and(Vec::is_empty) {
        read.problem(&shown::key(&key.path(names)), "is an empty list: leave it out, or name something");
    }
    texts.unwrap_or_default()
}
