//! Rules beyond scopes: on the organization and other claims, on the client, on the login, on the arguments of a call. The scopes
//! come first; a rule can only refuse what they permit.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::policy::{Denied, ScopePolicy};
use crate::principal::Principal;
use crate::scope::ScopeSet;
use crate::time::UnixSeconds;

/// The port that judges requests by rules. It is called amid a request, and must neither block nor panic.
pub trait AccessRules: Send + Sync {
    /// Judges a request whose scopes suffice.
    fn judge(&self, request: &AccessRequest<'_>) -> RuleJudgment;

    /// Returns a document of the rules: equal for equal rules, on every replica and after every restart.
    fn document(&self) -> Value;
}

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// Whether the principal has every claim of its token. One that was made of an audit event has not: conditions on claims that
    /// no event has can't be judged then.
    pub is_token_whole: bool,
    /// What is asked for.
    pub target: Target<'a>,
    /// The arguments of a tool's call, as the tool will get them; `None`: they are not known, or not yet.
    pub arguments: Option<&'a Value>,
    /// The present time.
    pub now: UnixSeconds,
}

/// Something on offer, by its name in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A tool, by its name.
    Tool(&'a str),
    /// A resource, by its URI or template.
    Resource(&'a str),
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A method of the server's own, by its name.
    Method(&'a str),
}

impl<'a> Target<'a> {
    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'a str {
        match self {
            Self::Tool(name) | Self::Resource(name) | Self::Prompt(name) | Self::Method(name) => name,
        }
    }
}

/// What the rules say of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleJudgment {
    /// Those that refuse it, in their order.
    pub refused: Vec<Refused>,
    /// The names of those that would refuse it, were they not in shadow mode.
    pub would_refuse: Vec<Arc<str>>,
    /// The names of those that depend on what is not known of the request.
    pub undecided: Vec<Arc<str>>,
}

/// A rule that refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The rule's name.
    pub rule: Arc<str>,
    /// The condition that is not met, the first of them.
    pub unmet: Unmet,
    /// What the client can do about it.
    pub remedy: Remedy,
}

/// What a client can do about a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    None,
    /// Have the user log in again.
    Login(LoginDemand),
    /// Get these scopes, which exempt from the rule.
    Scopes(ScopeSet),
}

/// The login that is demanded (RFC 9470 section 3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginDemand {
    /// How long ago it may be.
    pub max_age: Option<Duration>,
    /// The authentication context classes that suffice, the preferred ones first.
    pub acr_values: Vec<Arc<str>>,
    /// The scopes that the client is to ask for with it, so that it loses none.
    pub scopes: ScopeSet,
}

/// A condition of a rule that is not met. [`Unmet::code`] is stable: logs, audit events and docs/troubleshooting.md use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// On `org_id`.
    #[error("this takes a login through another organization")]
    Organization,
    /// On a custom claim.
    #[error("what the token says of this user does not permit this")]
    Claim,
    /// On the OAuth client.
    #[error("this client may not do this")]
    Client,
    /// On the age of the login.
    #[error("the login is too long ago for this; log in again")]
    LoginAge,
    /// On the authentication context class.
    #[error("the login was not strong enough for this; log in again, in a stronger way")]
    LoginStrength,
    /// On the arguments of a tool's call.
    #[error("this is not permitted with these arguments")]
    Arguments,
}

impl Unmet {
    /// Every condition.
    pub const ALL: [Self; 6] =
        [Self::Organization, Self::Claim, Self::Client, Self::LoginAge, Self::LoginStrength, Self::Arguments];

    /// Returns the reason code; it never changes.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Organization => "wrong_organization",
            Self::Claim => "claim_not_permitted",
            Self::Client => "client_not_permitted",
            Self::LoginAge => "login_too_old",
            Self::LoginStrength => "login_too_weak",
            Self::Arguments => "arguments_not_permitted",
        }
    }
}

/// Why a principal may not have what is on offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It lacks scopes.
    #[error(transparent)]
    Scopes(#[from] Denied),
    /// Rules refuse it.
    #[error("{}", .0.unmet)]
    Rules(Box<RuleDenied>),
}

/// Rules refuse what the scopes permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDenied {
    /// The names of the rules.
    pub rules: Vec<Arc<str>>,
    /// The condition that is not met; of several the one that the step-up is about.
    pub unmet: Unmet,
    /// How the client can get it.
    pub step_up: StepUp,
}

/// How a client can get what is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepUp {
    /// It can't.
    Impossible,
    /// By another login of the user's (RFC 9470).
    Login(LoginDemand),
    /// By further scopes (RFC 6750 section 3.1).
    Scopes(Denied),
}

impl Denial {
    /// Returns the reason code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Scopes(_) => "insufficient_scope",
            Self::Rules(denied) => denied.unmet.code(),
        }
    }

    /// Returns the error code of OAuth: of RFC 6750 section 3.1, RFC 9470 section 3 or RFC 6749 section 4.1.2.1.
    #[must_use]
    pub const fn error(&self) -> &'static str {
        match self {
            Self::Scopes(_) => "insufficient_scope",
            Self::Rules(denied) => match denied.step_up {
                StepUp::Impossible => "access_denied",
                StepUp::Login(_) => "insufficient_user_authentication",
                StepUp::Scopes(_) => "insufficient_scope",
            },
        }
    }

    /// Returns what is wrong, and what to do, for people: without a value of a claim or an argument.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::Scopes(denied) => format!("the token lacks scopes that this needs: {}", denied.missing),
            Self::Rules(denied) => match &denied.step_up {
                StepUp::Impossible | StepUp::Login(_) => format!("{}: {}", denied.unmet.code(), denied.unmet),
                StepUp::Scopes(lacking) => {
                    let (code, unmet) = (denied.unmet.code(), denied.unmet);
                    format!("{code}: {unmet}, unless the token has the scopes {}", lacking.missing)
                }
            },
        }
    }

    /// Returns the names of the rules that refuse.
    #[must_use]
    pub fn rules(&self) -> &[Arc<str>] {
        match self {
            Self::Scopes(_) => &[],
            Self::Rules(denied) => &denied.rules,
        }
    }

    /// Returns the scopes that the client is to get, if that is all it takes.
    #[must_use]
    pub const fn lacking(&self) -> Option<&Denied> {
        match self {
            Self::Scopes(denied) => Some(denied),
            Self::Rules(denied) => match &denied.step_up {
                StepUp::Scopes(denied) => Some(denied),
                StepUp::Impossible | StepUp::Login(_) => None,
            },
        }
    }

    /// Returns the login that it takes, if that is all.
    #[must_use]
    pub const fn login(&self) -> Option<&LoginDemand> {
        match self {
            Self::Scopes(_) => None,
            Self::Rules(denied) => match &denied.step_up {
                StepUp::Login(demand) => Some(demand),
                StepUp::Impossible | StepUp::Scopes(_) => None,
            },
        }
    }

    /// Returns the scopes that the client is to ask for, if it can do anything.
    #[must_use]
    pub fn to_request(&self) -> Option<&ScopeSet> {
        let of_login = || self.login().map(|demand| &demand.scopes);
        self.lacking().map(|denied| &denied.to_request).or_else(of_login)
    }

    /// As [`Denied::keeping_held`].
    #[must_use]
    pub fn keeping_held(self) -> Self {
        match self {
            Self::Scopes(denied) => Self::Scopes(denied.keeping_held()),
            Self::Rules(mut denied) => {
                denied.step_up = match denied.step_up {
                    StepUp::Scopes(lacking) => StepUp::Scopes(lacking.keeping_held()),
                    other @ (StepUp::Impossible | StepUp::Login(_)) => other,
                };
                Self::Rules(denied)
            }
        }
    }

    /// Joins the denials of two operations of one principal: what it takes to get both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Scopes(one), Self::Scopes(other)) => Self::Scopes(one.and(&other)),
            (Self::Rules(one), Self::Rules(other)) => Self::Rules(Box::new((*one).and(*other))),
            (Self::Rules(mut rules), Self::Scopes(scopes))
            | (Self::Scopes(scopes), Self::Rules(mut rules)) => {
                match &mut rules.step_up {
                    StepUp::Scopes(lacking) => *lacking = std::mem::take(lacking).and(&scopes),
                    StepUp::Login(demand) => *demand = std::mem::take(demand).with(&scopes),
                    StepUp::Impossible => {}
                }
                Self::Rules(rules)
            }
        }
    }
}

impl RuleDenied {
    /// Returns the denial by one rule of something that needs these scopes.
    fn of(refused: Refused, scopes: &ScopePolicy, principal: &Principal, needed: &ScopeSet) -> Self {
        let step_up = match refused.remedy {
            Remedy::None => StepUp::Impossible,
            Remedy::Login(demand) => {
                let scopes = scopes.held(principal).union(needed);
                StepUp::Login(LoginDemand { scopes, ..demand })
            }
            // They exempt from the rule, so some are missing.
            Remedy::Scopes(exempting) => match scopes.check(principal, &needed.union(&exempting)) {
                Err(denied) => StepUp::Scopes(denied),
                Ok(()) => StepUp::Impossible,
            },
        };
        Self { rules: vec![refused.rule], unmet: refused.unmet, step_up }
    }

    /// Joins two denials. What nothing can be done about comes first, then the login, since that may bring scopes, too.
    fn and(mut self, other: Self) -> Self {
        let mut rules = std::mem::take(&mut self.rules);
        rules.extend(other.rules);
        let (unmet, step_up) = match (self.step_up, other.step_up) {
            (StepUp::Impossible, _) => (self.unmet, StepUp::Impossible),
            (_, StepUp::Impossible) => (other.unmet, StepUp::Impossible),
            (StepUp::Login(one), StepUp::Login(other)) => (self.unmet, StepUp::Login(one.and(other))),
            (StepUp::Login(demand), StepUp::Scopes(lacking)) => {
                (self.unmet, StepUp::Login(demand.with(&lacking)))
            }
            (StepUp::Scopes(lacking), StepUp::Login(demand)) => {
                (other.unmet, StepUp::Login(demand.with(&lacking)))
            }
            (StepUp::Scopes(one), StepUp::Scopes(other)) => (self.unmet, StepUp::Scopes(one.and(&other))),
        };
        Self { rules, unmet, step_up }
    }
}

impl LoginDemand {
    /// Adds the scopes that are lacking besides.
    fn with(self, lacking: &Denied) -> Self {
        Self { scopes: self.scopes.union(&lacking.to_request), ..self }
    }

    /// Joins two demands: a login that suffices for both, where one class suffices for both.
    fn and(mut self, other: Self) -> Self {
        let max_age = [self.max_age, other.max_age].into_iter().flatten().min();
        let acr_values = if self.acr_values.is_empty() {
            other.acr_values
        } else {
            let common = |value: &Arc<str>| other.acr_values.contains(value);
            if self.acr_values.iter().any(common) {
                self.acr_values.retain(common);
            }
            self.acr_values
        };
        Self { max_age, acr_values, scopes: self.scopes.union(&other.scopes) }
    }
}

/// What scopes and rules say of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Why it is refused.
    pub denial: Option<Denial>,
    /// The names of the rules in shadow mode that would refuse it.
    pub would_refuse: Vec<Arc<str>>,
    /// The names of the rules that depend on what is not known of it.
    pub undecided: Vec<Arc<str>>,
}

/// Judges a principal's request for what needs these scopes; `None`: for what nobody may have. Every decision is made by this.
/// `request` is called where there are rules to judge it.
#[must_use]
pub fn judge<'a>(
    scopes: &ScopePolicy,
    rules: Option<&dyn AccessRules>,
    needed: Option<&ScopeSet>,
    principal: &'a Principal,
    request: impl FnOnce() -> AccessRequest<'a>,
) -> Judged {
    let verdict = needed.ok_or_else(Denied::default).and_then(|needed| {
        scopes.check(principal, needed)?;
        Ok(needed)
    });
    let (rules, needed) = match (verdict, rules) {
        (Err(denied), _) => return Judged { denial: Some(denied.into()), ..Judged::default() },
        (Ok(_), None) => return Judged::default(),
        (Ok(needed), Some(rules)) => (rules, needed),
    };
    let RuleJudgment { refused, would_refuse, undecided } = rules.judge(&request());
    let denials = refused.into_iter().map(|refused| RuleDenied::of(refused, scopes, principal, needed));
    let denial = denials.reduce(RuleDenied::and);
    Judged { denial: denial.map(|denied| Denial::Rules(Box::new(denied))), would_refuse, undecided }
}
