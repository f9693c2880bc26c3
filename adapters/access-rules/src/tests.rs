use std::sync::Arc;
use std::time::Duration;

use domain::{
    Catalog, Claims, Denial, ExtraClaims, LoginScopes, Principal, Scope, ScopeAuthority, ScopeHierarchy,
    ScopePolicy, StepUp, TokenPolicy, UnixSeconds,
};
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::json;

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_000_000);
const PLAN: &str = "https://example.com/plan";

fn set(scopes: &str) -> ScopeSet {
    ScopeSet::parse_all(scopes.split_whitespace()).unwrap()
}

fn principal(change: impl FnOnce(&mut Claims)) -> Principal {
    let mut claims = fakes::claims("https://issuer.example/", "a", UnixSeconds(NOW.0 + 60), "");
    claims.client_id = Some("app".into());
    change(&mut claims);
    let policy = TokenPolicy {
        token_types: &["at+jwt", "JWT"],
        issuers: vec!["https://issuer.example/".into()],
        resources: vec!["a".into()],
        additional_audiences: Vec::new(),
        leeway: Duration::ZERO,
        authority: ScopeAuthority::Scope,
        hierarchy: Arc::new(ScopeHierarchy::default()),
    };
    policy.admit(&Arc::new(claims), &"a".into(), NOW).unwrap()
}

fn extra(change: impl FnOnce(&mut ExtraClaims)) -> Principal {
    principal(|claims| change(claims.extra.get_or_insert_default()))
}

fn claim(name: &str, json: &str) -> Principal {
    extra(|extra| extra.custom.insert(name, json))
}

/// A rule on the tool `pay`.
fn rule(name: &str, change: impl FnOnce(&mut Rule)) -> Rule {
    let covers = Covers { tools: vec![Pattern::new("pay")], ..Covers::default() };
    let mut rule = Rule {
        name: name.into(),
        is_shadow: false,
        covers,
        conditions: Conditions::default(),
        unless_scopes: ScopeSet::EMPTY,
    };
    change(&mut rule);
    rule
}

fn rules(rules: impl IntoIterator<Item = Rule>) -> RuleSet {
    rules_with(rules, LoginClaims::default())
}

fn rules_with(rules: impl IntoIterator<Item = Rule>, login: LoginClaims) -> RuleSet {
    let is_third_party: IsThirdParty = Arc::new(|client: &str| client.starts_with("tpc_"));
    RuleSet::new(rules.into_iter().collect(), login, is_third_party)
}

fn on(conditions: Conditions) -> RuleSet {
    rules([rule("r", |rule| rule.conditions = conditions)])
}

fn judge(rules: &RuleSet, principal: &Principal, arguments: Option<&Value>) -> RuleJudgment {
    let target = Target::Tool("pay");
    rules.judge(&AccessRequest { principal, is_token_whole: true, target, arguments, now: NOW })
}

/// The reason code, or `met`, or `undecided`.
fn verdict(rules: &RuleSet, principal: &Principal) -> &'static str {
    let judgment = judge(rules, principal, None);
    match (judgment.refused.first(), judgment.undecided.is_empty()) {
        (Some(refused), _) => refused.unmet.code(),
        (None, true) => "met",
        (None, false) => "undecided",
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn an_organization_is_one_of_those_named() {
    let rules = on(Conditions { organizations: texts(&["org_1", "org_2"]), ..Conditions::default() });
    for (organization, expected) in [
        (Some("org_1"), "met"),
        (Some("org_2"), "met"),
        (Some("org_12"), "wrong_organization"),
        (Some("ORG_1"), "wrong_organization"),
        (None, "wrong_organization"),
    ] {
        let principal = principal(|claims| claims.organization_id = organization.map(Into::into));
        assert_eq!(verdict(&rules, &principal), expected, "{organization:?}");
    }
}

#[test]
fn a_claim_has_one_of_the_values_or_has_it_in_its_list() {
    let claims = [(PLAN.to_owned(), texts(&["pro", "true", "3"]))].into();
    let rules = on(Conditions { claims, ..Conditions::default() });
    for (json, expected) in [
        (r#""pro""#, "met"),
        (r#"["free","pro"]"#, "met"),
        ("true", "met"),
        ("3", "met"),
        (r#""free""#, "claim_not_permitted"),
        (r#"["free"]"#, "claim_not_permitted"),
        ("[]", "claim_not_permitted"),
        (r#"[["pro"]]"#, "claim_not_permitted"),
        (r#"{"pro":"pro"}"#, "claim_not_permitted"),
        ("null", "claim_not_permitted"),
        ("false", "claim_not_permitted"),
    ] {
        assert_eq!(verdict(&rules, &claim(PLAN, json)), expected, "{json}");
    }
    assert_eq!(verdict(&rules, &claim("https://example.com/plans", r#""pro""#)), "claim_not_permitted");
    assert_eq!(verdict(&rules, &principal(|_| {})), "claim_not_permitted");
    let too_large = extra(|extra| {
        extra.custom.insert(PLAN, r#""pro""#);
        extra.custom.insert("https://a/", &format!("\"{}\"", "x".repeat(5000)));
    });
    assert_eq!(verdict(&rules, &too_large), "claim_not_permitted");
}

#[test]
fn every_claim_that_is_named_must_be_there() {
    let claims = [(PLAN.to_owned(), texts(&["pro"])), ("https://a/".to_owned(), texts(&["b"]))].into();
    let rules = on(Conditions { claims, ..Conditions::default() });
    assert_eq!(verdict(&rules, &claim(PLAN, r#""pro""#)), "claim_not_permitted");
    let both = extra(|extra| {
        extra.custom.insert(PLAN, r#""pro""#);
        extra.custom.insert("https://a/", r#""b""#);
    });
    assert_eq!(verdict(&rules, &both), "met");
}

#[test]
fn a_client_is_one_of_those_named_or_no_third_partys() {
    let client = |id: &str| principal(|claims| claims.client_id = Some(id.into()));
    let listed = on(Conditions { clients: texts(&["app", "tpc_1"]), ..Conditions::default() });
    let first_party = on(Conditions { third_party_clients: false, ..Conditions::default() });
    let both = on(Conditions {
        clients: texts(&["app", "tpc_1"]),
        third_party_clients: false,
        ..Conditions::default()
    });
    let refused = "client_not_permitted";
    for (id, of_list, of_first_party, of_both) in [
        ("app", "met", "met", "met"),
        ("app2", refused, "met", refused),
        ("tpc_1", "met", refused, refused),
        ("tpc_2", refused, refused, refused),
    ] {
        assert_eq!(verdict(&listed, &client(id)), of_list, "{id}");
        assert_eq!(verdict(&first_party, &client(id)), of_first_party, "{id}");
        assert_eq!(verdict(&both, &client(id)), of_both, "{id}");
    }
    let by_azp = principal(|claims| (claims.client_id, claims.authorized_party) = (None, Some("app".into())));
    assert_eq!(verdict(&listed, &by_azp), "met");
}

#[test]
fn a_login_is_recent_to_the_second() {
    let conditions = || Conditions { max_age: Some(Duration::from_mins(10)), ..Conditions::default() };
    let registered = on(conditions());
    let name = "https://example.com/auth_time";
    let login = LoginClaims { auth_time: Some(name.into()), acr: None };
    let custom = rules_with([rule("r", |rule| rule.conditions = conditions())], login);
    for (ago, expected) in [
        (0, "met"),
        (600, "met"),
        (601, "login_too_old"),
        (-300, "met"),
        (-301, "login_too_old"),
        (i64::MAX, "login_too_old"),
    ] {
        let at = NOW.0.saturating_sub(ago);
        let by_registered = extra(|extra| extra.authenticated_at = Some(UnixSeconds(at)));
        assert_eq!(verdict(&registered, &by_registered), expected, "{ago}");
        assert_eq!(verdict(&custom, &by_registered), "login_too_old", "another claim is none");
        assert_eq!(verdict(&custom, &claim(name, &at.to_string())), expected, "{ago}");
    }
    for absent in ["null", r#""999999""#, "[999999]", "true"] {
        assert_eq!(verdict(&custom, &claim(name, absent)), "login_too_old", "{absent}");
    }
    assert_eq!(verdict(&registered, &principal(|_| {})), "login_too_old");
}

#[test]
fn a_login_is_of_one_of_the_classes() {
    let conditions = || Conditions { acr: vec!["mfa".into(), "phr".into()], ..Conditions::default() };
    let registered = on(conditions());
    let name = "https://example.com/acr";
    let login = LoginClaims { auth_time: None, acr: Some(name.into()) };
    let custom = rules_with([rule("r", |rule| rule.conditions = conditions())], login);
    for (class, expected) in
        [("mfa", "met"), ("phr", "met"), ("pwd", "login_too_weak"), ("", "login_too_weak")]
    {
        let by_registered = extra(|extra| extra.authentication_context = Some(class.into()));
        assert_eq!(verdict(&registered, &by_registered), expected, "{class}");
        assert_eq!(verdict(&custom, &by_registered), "login_too_weak", "another claim is none");
        assert_eq!(verdict(&custom, &claim(name, &format!("{class:?}"))), expected, "{class}");
    }
    assert_eq!(verdict(&custom, &claim(name, r#"["mfa"]"#)), "login_too_weak");
    assert_eq!(verdict(&registered, &principal(|_| {})), "login_too_weak");
}

fn amount(maximum: u64) -> Schema {
    let schema = json!({"type": "object", "properties": {"amount": {"maximum": maximum}}});
    Schema::from_json(schema).unwrap()
}

#[test]
fn arguments_fit_the_schema_once_they_are_known() {
    let rules = on(Conditions { arguments: Some(amount(1000)), ..Conditions::default() });
    let ada = principal(|_| {});
    assert_eq!(verdict(&rules, &ada), "undecided");
    assert_eq!(judge(&rules, &ada, Some(&json!({"amount": 1000}))), RuleJudgment::default());
    let refused = judge(&rules, &ada, Some(&json!({"amount": 1001}))).refused;
    assert_eq!(refused[0].unmet, Unmet::Arguments);
    assert_eq!(refused[0].remedy, Remedy::None);
}

#[test]
fn what_is_not_known_of_an_event_is_undecided_unless_something_else_decides() {
    let (acr, max_age) = (vec!["mfa".into()], Some(Duration::from_secs(1)));
    let claims = [(PLAN.to_owned(), texts(&["pro"]))].into();
    let ada = principal(|_| {});
    let judge = |conditions: Conditions| {
        let target = Target::Tool("pay");
        let request =
            AccessRequest { principal: &ada, is_token_whole: false, target, arguments: None, now: NOW };
        let judgment = on(conditions).judge(&request);
        (judgment.refused.len(), judgment.undecided.len())
    };
    assert_eq!(judge(Conditions { claims, ..Conditions::default() }), (0, 1));
    assert_eq!(judge(Conditions { max_age, ..Conditions::default() }), (0, 1));
    assert_eq!(judge(Conditions { acr: acr.clone(), ..Conditions::default() }), (0, 1));
    let organizations = texts(&["org"]);
    assert_eq!(judge(Conditions { organizations, acr, ..Conditions::default() }), (1, 0));
    assert_eq!(judge(Conditions { clients: texts(&["app"]), ..Conditions::default() }), (0, 0));
}

#[test]
fn a_rule_covers_what_it_names_of_its_kind_and_no_more() {
    let covers = Covers {
        tools: vec![Pattern::new("pay_*"), Pattern::new("refund")],
        resources: vec![Pattern::new("account://{id}")],
        prompts: vec![Pattern::new("*")],
        methods: vec![Pattern::new("example.com/pay")],
    };
    for (target, expected) in [
        (Target::Tool("pay_now"), true),
        (Target::Tool("pay_"), true),
        (Target::Tool("refund"), true),
        (Target::Tool("pay"), false),
        (Target::Tool("refunds"), false),
        (Target::Tool("account://{id}"), false),
        (Target::Resource("account://{id}"), true),
        (Target::Resource("account://1"), false),
        (Target::Prompt("anything"), true),
        (Target::Method("example.com/pay"), true),
        (Target::Method("pay_now"), false),
    ] {
        assert_eq!(covers.fits(target), expected, "{target:?}");
    }
}

#[test]
fn a_rule_in_shadow_mode_refuses_nothing() {
    let conditions = || Conditions { organizations: texts(&["org"]), ..Conditions::default() };
    let shadow = rule("shadow", |rule| (rule.conditions, rule.is_shadow) = (conditions(), true));
    let judgment = judge(&rules([shadow]), &principal(|_| {}), None);
    assert_eq!((judgment.refused.len(), judgment.would_refuse), (0, vec!["shadow".into()]));
    let met = principal(|claims| claims.organization_id = Some("org".into()));
    let shadow = rule("shadow", |rule| (rule.conditions, rule.is_shadow) = (conditions(), true));
    assert_eq!(judge(&rules([shadow]), &met, None), RuleJudgment::default());
}

#[test]
fn the_client_is_told_the_least_that_helps() {
    let login = || Conditions {
        max_age: Some(Duration::from_mins(10)),
        acr: vec!["mfa".into()],
        ..Conditions::default()
    };
    let with_organization = || Conditions { organizations: texts(&["org"]), ..login() };
    let demand = Remedy::Login(LoginDemand {
        max_age: Some(Duration::from_mins(10)),
        acr_values: vec!["mfa".into()],
        scopes: ScopeSet::EMPTY,
    });
    for (conditions, unless, expected) in [
        (login(), "", demand.clone()),
        (login(), "exempt", demand),
        (with_organization(), "", Remedy::None),
        (with_organization(), "exempt", Remedy::Scopes(set("exempt"))),
    ] {
        let rules = rules([rule("r", |rule| {
            (rule.conditions, rule.unless_scopes) = (conditions, set(unless));
        })]);
        assert_eq!(judge(&rules, &principal(|_| {}), None).refused[0].remedy, expected);
    }
}

/// The policy of a server where nothing has scopes.
fn scopes() -> ScopePolicy {
    ScopePolicy::new([], &Catalog::default(), &ScopeHierarchy::default(), LoginScopes::All).unwrap()
}

fn decide(rules: &RuleSet, principal: &Principal) -> domain::Judged {
    let target = Target::Tool("pay");
    let request = || AccessRequest { principal, is_token_whole: true, target, arguments: None, now: NOW };
    domain::rules::judge(&scopes(), Some(rules), Some(&ScopeSet::EMPTY), principal, request)
}

#[test]
fn of_several_rules_what_nothing_helps_against_comes_first_then_the_login_then_scopes() {
    let login = |name: &str, seconds, acr: &[&str]| {
        let acr = acr.iter().map(|class| (*class).into()).collect();
        rule(name, |rule| {
            rule.conditions =
                Conditions { max_age: Some(Duration::from_secs(seconds)), acr, ..Conditions::default() };
        })
    };
    let organization = |name: &str, unless: &str| {
        rule(name, |rule| {
            rule.conditions = Conditions { organizations: texts(&["org"]), ..Conditions::default() };
            rule.unless_scopes = set(unless);
        })
    };
    let decided = |all: Vec<Rule>| match decide(&rules(all), &principal(|_| {})).denial {
        Some(Denial::Rules(denied)) => denied,
        other => panic!("{other:?}"),
    };
    let denied = decided(vec![login("a", 9, &[]), organization("b", "one"), organization("c", "")]);
    assert_eq!((denied.unmet, denied.step_up), (Unmet::Organization, StepUp::Impossible));
    assert_eq!(denied.rules, ["a".into(), "b".into(), "c".into()]);
    let denied =
        decided(vec![organization("a", "one"), login("b", 9, &["x", "y"]), login("c", 5, &["y", "z"])]);
    let StepUp::Login(demand) = denied.step_up else { panic!("no login") };
    assert_eq!((denied.unmet, demand.max_age), (Unmet::LoginAge, Some(Duration::from_secs(5))));
    assert_eq!(demand.acr_values, ["y".into()]);
    let denied = decided(vec![organization("a", "one"), organization("b", "two")]);
    let StepUp::Scopes(lacking) = denied.step_up else { panic!("no scopes") };
    assert_eq!(lacking.to_request, set("one two"));
}

#[test]
fn the_document_changes_with_every_part_of_a_rule() {
    type Change = fn(&mut Rule);
    let plain = |change: Change| rules([rule("r", change)]).document();
    let changes: [Change; 14] = [
        |_| {},
        |rule| rule.name = "s".into(),
        |rule| rule.is_shadow = true,
        |rule| rule.covers.tools.push(Pattern::new("x")),
        |rule| rule.covers.resources.push(Pattern::new("x")),
        |rule| rule.covers.prompts.push(Pattern::new("x")),
        |rule| rule.covers.methods.push(Pattern::new("x")),
        |rule| rule.conditions.organizations.push("x".into()),
        |rule| drop(rule.conditions.claims.insert("x".into(), Vec::new())),
        |rule| rule.conditions.clients.push("x".into()),
        |rule| rule.conditions.third_party_clients = false,
        |rule| rule.conditions.max_age = Some(Duration::from_secs(1)),
        |rule| rule.conditions.acr.push("x".into()),
        |rule| rule.unless_scopes = set("x"),
    ];
    let mut documents: Vec<Value> = changes.into_iter().map(plain).collect();
    documents.push(plain(|rule| rule.conditions.arguments = Some(amount(1))));
    documents.push(plain(|rule| rule.conditions.arguments = Some(amount(2))));
    let login = LoginClaims { auth_time: Some("https://a/".into()), acr: None };
    documents.push(rules_with([rule("r", |_| {})], login).document());
    for (index, document) in documents.iter().enumerate() {
        assert_eq!(documents.iter().position(|other| other == document), Some(index));
    }
    assert_eq!(plain(|_| {}), plain(|_| {}));
}

const SCOPES: [&str; 3] = ["a", "b", "c"];

/// Who has some of the scopes, of one of two organizations, logged in some time ago.
fn principals() -> impl Strategy<Value = Principal> {
    (subsequence(&SCOPES[..], 0..=3), prop::option::of(0..2u8), prop::option::of(0..20i64)).prop_map(
        |(scopes, organization, ago)| {
            principal(|claims| {
                claims.scope = set(&scopes.join(" "));
                claims.organization_id = organization.map(|number| format!("org_{number}"));
                claims.extra.get_or_insert_default().authenticated_at =
                    ago.map(|ago| UnixSeconds(NOW.0 - ago));
            })
        },
    )
}

fn any_rule() -> impl Strategy<Value = (bool, Option<u8>, Option<u64>, Vec<&'static str>)> {
    let unless = subsequence(&SCOPES[..], 0..=2);
    (any::<bool>(), prop::option::of(0..2u8), prop::option::of(1..20u64), unless)
}

fn built(
    (is_shadow, organization, max_age, unless): (bool, Option<u8>, Option<u64>, Vec<&'static str>),
) -> Rule {
    rule("r", |rule| {
        rule.is_shadow = is_shadow;
        rule.unless_scopes = set(&unless.join(" "));
        rule.conditions.organizations =
            organization.map(|number| format!("org_{number}")).into_iter().collect();
        rule.conditions.max_age = max_age.map(Duration::from_secs);
    })
}

proptest! {
    #[test]
    fn whoever_has_the_exempting_scopes_is_never_refused(principal in principals(), one in any_rule()) {
        let rule = built(one);
        let is_exempt = !rule.unless_scopes.is_empty()
            && rule.unless_scopes.iter().all(|scope: &Scope| principal.scopes().contains(scope));
        let judgment = judge(&rules([rule]), &principal, None);
        prop_assert!(!is_exempt || judgment == RuleJudgment::default());
    }

    #[test]
    fn another_rule_never_allows_more(principal in principals(), some in prop::collection::vec(any_rule(), 0..4), one in any_rule()) {
        let before = decide(&rules(some.clone().into_iter().map(built)), &principal);
        let more = rules(some.into_iter().chain([one]).map(built));
        let after = decide(&more, &principal);
        prop_assert!(before.denial.is_none() || after.denial.is_some());
    }

    #[test]
    fn what_a_challenge_asks_for_is_enough(mut principal in principals(), some in prop::collection::vec(any_rule(), 1..4)) {
        let rules = rules(some.into_iter().map(built));
        for _ in 0..3 {
            let denial = decide(&rules, &principal).denial;
            let scopes = denial.as_ref().and_then(Denial::to_request).unwrap_or(&ScopeSet::EMPTY).union(principal.scopes());
            let is_login = denial.as_ref().is_some_and(|denial| denial.login().is_some());
            let is_hopeless = denial.is_some_and(|denial| denial.to_request().is_none());
            if is_hopeless {
                return Ok(());
            }
            let organization = principal.organization_id().map(str::to_owned);
            let at = if is_login { Some(NOW) } else { principal.authenticated_at() };
            principal = self::principal(|claims| {
                (claims.scope, claims.organization_id) = (scopes, organization);
                claims.extra.get_or_insert_default().authenticated_at = at;
            });
        }
        prop_assert!(decide(&rules, &principal).denial.is_none());
    }
}
