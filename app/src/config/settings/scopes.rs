//! `[scopes]`: which scopes a first login asks for, and which scopes imply others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{HierarchyError, LoginScopes, Scope, ScopeHierarchy, ScopeSet, ToolName};

use super::context::{Completeness, Context};
use super::rules::Rules;
use super::tools::ToolRule;
use crate::config::key::{Key, Reload, Texts, WordOr};
use crate::config::reader::{Reader, WordOrTexts};
use crate::config::{shown, suggestions};

static LOGIN: Key<WordOr> = Key::new(
    "scopes.login",
    WordOr("all", Texts("scopes")),
    Reload::Applied,
    "which scopes a first login asks for (see below)",
);
static IMPLIES: Key<Texts> = Key::new(
    "scopes.implies.\"SCOPE\"",
    Texts("scopes"),
    Reload::Applied,
    "which scopes SCOPE implies (see below)",
)
.or("none");

pub(super) const KEYS: &[&Key] = &[&LOGIN, &IMPLIES];

/// The scope that asks for a refresh token.
const OFFLINE_ACCESS: &str = "offline_access";
/// The scopes of OpenID Connect, which say who a user is.
const OPENID_CONNECT: [&str; 5] = ["openid", "profile", "email", "address", "phone"];

/// Which scopes a first login asks for, and which scopes imply others.
#[derive(Debug, Clone)]
pub struct Scopes {
    /// Which scopes imply which.
    pub hierarchy: Arc<ScopeHierarchy>,
    /// Which scopes a first login asks for.
    pub login: LoginScopes,
}

/// Reads the table. What tools ask for counts with the configuration's own rules, and whether they are switched on or not: a
/// tool can be switched off without a look at this table.
pub(super) fn read(
    read: &mut Reader,
    context: &Context<'_>,
    tools: &BTreeMap<ToolName, ToolRule>,
    rules: &Rules,
) -> Scopes {
    let asked = context.catalog.asked_scopes(|spec| {
        let configured = tools.get(&spec.name).and_then(|rule| rule.scopes.as_ref());
        configured.unwrap_or(&spec.scopes)
    });
    let asked = asked.union(&rules.exempting_scopes());
    let names = read.names(&["scopes", "implies"]);
    let hierarchy = hierarchy(read, context, &asked, &names);
    Scopes { hierarchy: Arc::new(hierarchy), login: login(read, context, &asked, &names) }
}

fn hierarchy(read: &mut Reader, context: &Context<'_>, asked: &ScopeSet, names: &[String]) -> ScopeHierarchy {
    let implied = implied(read, names);
    for (name, narrower) in &implied {
        let unknown = narrower.iter().filter(|scope| !names.iter().any(|name| name == scope.as_str()));
        for scope in unknown.filter(|scope| !asked.contains(scope)) {
            let others = names.iter().map(String::as_str).filter(|other| *other != name.as_str());
            let known: Vec<&str> = asked.iter().map(Scope::as_str).chain(others).collect();
            note_unknown(read, &key(name.as_str()), scope, &known, context);
        }
    }
    ScopeHierarchy::new(implied).unwrap_or_else(|error| {
        let name = error.scope().map(Scope::as_str).unwrap_or_default();
        read.problem(&key(name), error.to_string());
        ScopeHierarchy::default()
    })
}

/// Reads what each scope implies directly; entries with faults are left out.
fn implied(read: &mut Reader, names: &[String]) -> BTreeMap<Scope, ScopeSet> {
    let mut implied = BTreeMap::new();
    for name in names {
        let texts = read.texts_of(&IMPLIES, &[name]);
        let narrower = texts.map(|texts| ScopeSet::parse_all(texts.iter().map(String::as_str)));
        match (Scope::parse(name), narrower) {
            (Ok(scope), _) if scope.as_str() == OFFLINE_ACCESS => {
                read.problem(&key(name), "offline_access permits nothing here: it asks for a refresh token");
            }
            (Ok(scope), Some(Ok(narrower))) if narrower.is_empty() => {
                read.problem(&key(name), HierarchyError::ImpliesNothing(scope).to_string());
            }
            (Ok(scope), Some(Ok(narrower))) => {
                implied.insert(scope, narrower);
            }
            (Err(error), _) | (Ok(_), Some(Err(error))) => read.problem(&key(name), error.to_string()),
            // The reader has noted the wrong type.
            (Ok(_), None) => {}
        }
    }
    implied
}

fn login(read: &mut Reader, context: &Context<'_>, asked: &ScopeSet, names: &[String]) -> LoginScopes {
    let Some(WordOrTexts::Texts(texts)) = read.word_or_texts(&LOGIN) else {
        return LoginScopes::All;
    };
    let scopes = match ScopeSet::parse_all(texts.iter().map(String::as_str)) {
        Ok(scopes) => scopes,
        Err(error) => {
            read.problem(LOGIN.name, error.to_string());
            return LoginScopes::All;
        }
    };
    let known: Vec<&str> = asked.iter().map(Scope::as_str).chain(names.iter().map(String::as_str)).collect();
    for scope in scopes.iter() {
        if scope.as_str() == OFFLINE_ACCESS {
            read.problem(
                LOGIN.name,
                format!(
                    "must not hold offline_access: a client that wants a refresh token asks for it by itself (MCP \
                     2026-07-28, authorization, \"Refresh Tokens\"); {} instead",
                    context.provider.hints().refresh_tokens
                ),
            );
        } else if !known.contains(&scope.as_str()) {
            note_unknown(read, LOGIN.name, scope, &known, context);
        }
    }
    LoginScopes::Listed(scopes)
}

/// Notes a scope that nothing asks for: as a fault, or where tools come and go as a warning.
fn note_unknown(read: &mut Reader, key: &str, scope: &Scope, known: &[&str], context: &Context<'_>) {
    let message = unknown_scope(scope, known, context);
    match context.completeness {
        Completeness::Complete => read.problem(key, message),
        Completeness::Partial => {}
        Completeness::Changing(_) => read.warn(key, message),
    }
}

fn unknown_scope(scope: &Scope, known: &[&str], context: &Context<'_>) -> String {
    let advice = match suggestions::name_like(scope.as_str(), known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None if OPENID_CONNECT.contains(&scope.as_str()) => {
            format!(
                "it says who a user is, not what a client may do here{}",
                context.provider.hints().openid_scopes
            )
        }
        None if known.is_empty() => "none of them asks for any".to_owned(),
        None => {
            let distinct: BTreeSet<&str> = known.iter().copied().collect();
            format!("the scopes are {}", distinct.into_iter().collect::<Vec<_>>().join(", "))
        }
    };
    let scope = shown::text(scope.as_str());
    format!("no tool, resource or prompt asks for the scope {scope}; {advice}")
}

fn key(name: &str) -> String {
    shown::key(&IMPLIES.path(&[name]))
}
