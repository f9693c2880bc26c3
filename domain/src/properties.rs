//! Properties of admission and of scopes, each against an oracle that is written in other terms than what it judges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::hierarchy::ScopeHierarchy;
use crate::principal::{Rejection, ScopeAuthority, TokenPolicy};
use crate::scope::{Scope, ScopeSet};
use crate::time::UnixSeconds;
use crate::token::Claims;

const ISSUERS: [&str; 2] = ["https://t.auth0.com/", "https://login.example.com/"];
pub(crate) const AUDIENCES: [&str; 2] = ["https://api", "urn:api"];

/// An instant of particular interest, or any.
fn instant() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 999_900_i64..1_000_100,
        1 => any::<i64>(),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MIN + 1), Just(-1), Just(0), Just(i64::MAX - 1), Just(i64::MAX)],
    ]
}

fn leeway() -> impl Strategy<Value = Duration> {
    let seconds = prop_oneof![
        4 => 0_u64..=300,
        1 => any::<u64>(),
        1 => prop_oneof![Just(i64::MAX.unsigned_abs()), Just(1 << 63), Just(u64::MAX)],
    ];
    (seconds, 0_u32..1_000_000_000).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn text(good: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(good).prop_map(str::to_owned),
        1 => prop::sample::select(good).prop_map(|good| format!("{good}/")),
        1 => prop::sample::select(good).prop_map(str::to_ascii_uppercase),
        1 => Just(String::new()),
        1 => ".{0,8}",
    ]
}

fn name() -> impl Strategy<Value = Option<String>> {
    prop_oneof![1 => Just(None), 1 => Just(Some(String::new())), 6 => "[a-z]{1,4}".prop_map(Some)]
}

prop_compose! {
    fn claims()(
        token_type in prop::option::weighted(0.9, text(&["at+jwt", "application/at+jwt", "JWT"])),
        issuer in text(&ISSUERS),
        audience in prop::collection::vec(text(&AUDIENCES), 0..3),
        subject in prop_oneof![1 => Just(String::new()), 8 => "[a-z|]{1,6}"],
        (expires_at, not_before, issued_at) in
            (instant(), prop::option::of(instant()), prop::option::of(instant())),
        (client_id, authorized_party) in (name(), name()),
        (scope, permissions) in (scopes(), scopes()),
        sender_constrained in prop::bool::weighted(0.1),
    ) -> Claims {
        Claims {
            token_type, issuer, audience, subject,
            expires_at: UnixSeconds(expires_at),
            not_before: not_before.map(UnixSeconds),
            issued_at: issued_at.map(UnixSeconds),
            client_id, authorized_party, scope, permissions,
            name: None, email: None, organization_id: None, token_id: None, sender_constrained, extra: None,
        }
    }
}

/// Of few names, so that two sets often meet.
fn scopes() -> impl Strategy<Value = ScopeSet> {
    prop::collection::vec("[a-d]", 0..5)
        .prop_map(|texts| ScopeSet::granted_by(texts.iter().map(String::as_str)))
}

pub(crate) fn policy(leeway: Duration, authority: ScopeAuthority) -> TokenPolicy {
    let owned = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
    TokenPolicy {
        token_types: &["at+jwt", "application/at+jwt", "JWT"],
        issuers: owned(ISSUERS),
        resources: vec![AUDIENCES[0].into()],
        additional_audiences: vec![AUDIENCES[1].to_owned()],
        leeway,
        authority,
        hierarchy: Arc::default(),
    }
}

fn authority() -> impl Strategy<Value = ScopeAuthority> {
    use ScopeAuthority as A;
    prop::sample::select(&[A::Scope, A::Permissions, A::Both, A::Either][..])
}

/// The instants at which a token is good, as `from..to`, in arithmetic that nothing overflows.
fn window(claims: &Claims, leeway: Duration) -> (i128, i128) {
    let leeway = i128::from(leeway.as_secs());
    let starts = [claims.not_before, claims.issued_at].into_iter().flatten().map(|start| i128::from(start.0));
    (starts.max().unwrap_or(i128::MIN / 2) - leeway, i128::from(claims.expires_at.0) + leeway)
}

/// Everything but time.
fn fault(claims: &Claims) -> Option<Rejection> {
    let types = ["AT+JWT", "APPLICATION/AT+JWT", "JWT"];
    let typ = claims.token_type.as_ref().map(|typ| typ.to_ascii_uppercase()).unwrap_or_default();
    let client = claims.client_id.clone().unwrap_or(claims.authorized_party.clone().unwrap_or_default());
    let heard: BTreeSet<&str> = claims.audience.iter().map(String::as_str).collect();
    [
        (!types.contains(&typ.as_str()), Rejection::TokenType),
        (!ISSUERS.contains(&claims.issuer.as_str()), Rejection::Issuer),
        (heard.is_disjoint(&BTreeSet::from(AUDIENCES)), Rejection::Audience),
        (claims.subject.is_empty(), Rejection::NoSubject),
        (client.is_empty(), Rejection::NoClient),
        (claims.sender_constrained, Rejection::SenderConstrained),
    ]
    .into_iter()
    .find_map(|(is_fault, rejection)| is_fault.then_some(rejection))
}

/// Those of a token that is good at 0.
pub(crate) fn good_claims() -> Claims {
    Claims {
        token_type: Some("at+jwt".into()),
        issuer: ISSUERS[0].into(),
        audience: vec![AUDIENCES[0].into()],
        subject: "s".into(),
        expires_at: UnixSeconds(1),
        not_before: None,
        issued_at: None,
        client_id: Some("c".into()),
        authorized_party: None,
        scope: ScopeSet::EMPTY,
        permissions: ScopeSet::EMPTY,
        name: None,
        email: None,
        organization_id: None,
        token_id: None,
        sender_constrained: false,
        extra: None,
    }
}

/// A caller whom the policy has admitted.
pub(crate) fn principal() -> crate::Principal {
    let policy = policy(Duration::ZERO, ScopeAuthority::Scope);
    policy.admit(&Arc::new(good_claims()), &AUDIENCES[0].into(), UnixSeconds(0)).unwrap()
}

fn names(scopes: &ScopeSet) -> BTreeSet<&str> {
    scopes.iter().map(Scope::as_str).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_token_is_admitted_in_its_window_and_never_outside(
        claims in claims(), leeway in leeway(), now in instant(), authority in authority(),
    ) {
        let verdict = policy(leeway, authority).admit(&Arc::new(claims.clone()), &AUDIENCES[0].into(), UnixSeconds(now));
        let (from, to) = window(&claims, leeway);
        let is_inside = (from..to).contains(&i128::from(now));
        // Where a sum does not fit, it becomes the nearest that does: a token may live shorter, never longer.
        let is_exact = leeway.as_secs() <= i64::MAX.unsigned_abs() && to <= i128::from(i64::MAX);
        match (verdict, fault(&claims)) {
            (Ok(_), fault) => prop_assert!(is_inside && fault.is_none(), "admitted: {:?}", fault),
            (Err(Rejection::Expired), _) => prop_assert!(i128::from(now) >= to || !is_exact),
            (Err(Rejection::NotYetValid), _) => prop_assert!(i128::from(now) < from || !is_exact),
            (Err(rejection), fault) => prop_assert_eq!(Some(rejection), fault),
        }
    }

    #[test]
    fn what_a_principal_may_is_what_its_authority_says(
        claims in claims(), authority in authority(),
    ) {
        let now = UnixSeconds(0);
        let claims = Claims { scope: claims.scope, permissions: claims.permissions, ..good_claims() };
        let (consented, assigned) = (names(&claims.scope), names(&claims.permissions));
        let expected: BTreeSet<&str> = match authority {
            ScopeAuthority::Scope => consented,
            ScopeAuthority::Permissions => assigned,
            ScopeAuthority::Both => &consented & &assigned,
            ScopeAuthority::Either => &consented | &assigned,
        };
        let claims = Arc::new(claims.clone());
        let who = policy(Duration::ZERO, authority).admit(&claims, &AUDIENCES[0].into(), now).unwrap();
        prop_assert_eq!(names(who.scopes()), expected);
    }

    /// Edges lead from a letter to a later one, so that there is no circle.
    #[test]
    fn a_principal_holds_what_it_is_granted_and_whatever_that_leads_to(
        granted in scopes(), required in scopes(), edges in prop::collection::vec(("[a-d]", "[a-d]"), 0..6),
    ) {
        let edges: Vec<(String, String)> = edges.into_iter().filter(|(from, to)| from < to).collect();
        let mut implied: BTreeMap<Scope, ScopeSet> = BTreeMap::new();
        for (from, to) in &edges {
            let direct = implied.entry(Scope::parse(from).unwrap()).or_default();
            *direct = direct.union(&ScopeSet::granted_by([to.as_str()]));
        }
        let mut held: BTreeSet<&str> = names(&granted);
        for _ in 0..4 {
            let next: Vec<&str> =
                edges.iter().filter(|(from, _)| held.contains(from.as_str())).map(|(_, to)| to.as_str()).collect();
            held.extend(next);
        }
        let hierarchy = Arc::new(ScopeHierarchy::new(implied).unwrap());
        let policy = TokenPolicy { hierarchy, ..policy(Duration::ZERO, ScopeAuthority::Scope) };
        let claims = Claims { scope: granted.clone(), ..good_claims() };
        let who = policy.admit(&Arc::new(claims), &AUDIENCES[0].into(), UnixSeconds(0)).unwrap();
        prop_assert_eq!(who.scopes(), &granted);
        let required_names = names(&required);
        let missing = who.missing(&required);
        prop_assert_eq!(names(&missing), &required_names - &held);
        prop_assert_eq!(who.holds_all(&required), required_names.is_subset(&held));
    }

    #[test]
    fn sets_of_scopes_are_sets(a in scopes(), b in scopes()) {
        let (left, right) = (names(&a), names(&b));
        let (union, intersection) = (a.union(&b), a.intersection(&b));
        prop_assert_eq!(names(&union), &left | &right);
        prop_assert_eq!(names(&intersection), &left & &right);
    }

    #[test]
    fn a_printed_set_reads_back_in_order(texts in prop::collection::vec("[!#-\\[\\]-~]{1,5}", 0..6)) {
        let set = ScopeSet::parse_all(texts.iter().map(String::as_str)).unwrap();
        let mut distinct: Vec<&str> = Vec::new();
        for text in &texts {
            if !distinct.contains(&text.as_str()) {
                distinct.push(text);
            }
        }
        prop_assert_eq!(set.to_string(), distinct.join(" "));
        prop_assert_eq!(ScopeSet::granted_by(set.to_string().split(' ')), set);
    }
}
