use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::*;
use crate::model::keys::{KeyRing, SigningKey};
use crate::model::options::{Api, Options};
use crate::oauth::issuer::Issuer;

const AUDIENCE: &str = "http://localhost:3001/mcp";

fn tenant(options: Options) -> Tenant {
    let keys = KeyRing::new(SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    Tenant::new(Issuer::new(options.with_api_identifier(AUDIENCE), 3002, keys)).unwrap()
}

fn issued(tenant: &Tenant, request: &TokenRequest) -> Result<IssuedToken, TokenError> {
    issue(tenant, request, tenant.issuer.url(), CLI_CLIENT_ID)
}

fn request(user: &str, scope: Option<&str>) -> TokenRequest {
    TokenRequest { user: user.into(), scope: scope.map(Into::into), audience: None }
}

/// Header and claims; the end-to-end tests verify the signature.
fn opened(token: &IssuedToken) -> [Value; 2] {
    let mut parts = token.access_token.split('.');
    [(); 2].map(|()| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap())
}

#[test]
fn scope_is_requested_and_assigned_permissions_are_all_assigned() {
    let tenant = tenant(Options::default());
    let both = ["tool:whoami", "tool:greet"];
    let one = ["tool:whoami"];
    let cases: [(&str, Option<&str>, &str, &[&str]); 8] = [
        ("admin", None, "tool:whoami tool:greet", &both),
        ("admin", Some("tool:greet tool:whoami"), "tool:whoami tool:greet", &both),
        ("admin", Some("tool:greet"), "tool:greet", &both),
        ("admin", Some(" tool:greet  tool:greet "), "tool:greet", &both),
        ("admin", Some(""), "", &both),
        ("user", None, "tool:whoami", &one),
        ("user", Some("tool:whoami tool:greet"), "tool:whoami", &one),
        ("user", Some("tool:greet"), "", &one),
    ];
    for (user, asked, scope, permissions) in cases {
        let token = issued(&tenant, &request(user, asked)).unwrap();
        let [_, claims] = opened(&token);
        assert_eq!(token.scope, scope, "{user} {asked:?}");
        assert_eq!(claims["scope"], scope, "{user} {asked:?}");
        assert_eq!(claims["permissions"], serde_json::json!(permissions), "{user} {asked:?}");
    }
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let tenant = tenant(Options::default());
    let management = TokenRequest {
        audience: Some("http://127.0.0.1:3002/api/v2/".into()),
        ..request("admin", Some("read:clients"))
    };
    let elsewhere = TokenRequest { audience: Some("https://x.test".into()), ..request("admin", None) };
    let cases = [
        (request("bob", None), "there is no user \"bob\"; the tenant has admin, user"),
        (request("a\u{1b}[2J", None), "there is no user \"a\\u{1b}[2J\"; the tenant has admin, user"),
        (elsewhere, "there is no API \"https://x.test\"; the tenant has http://localhost:3001/mcp"),
        (
            management,
            "there is no API \"http://127.0.0.1:3002/api/v2/\"; the tenant has http://localhost:3001/mcp",
        ),
        (
            request("admin", Some("tool:whoami openid")),
            "the API does not define the scope \"openid\"; it has tool:whoami, tool:greet",
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(issued(&tenant, &request).err().unwrap().to_string(), expected);
    }
}

#[test]
fn each_dialect_has_its_type_and_its_claims() {
    let common = ["aud", "email", "exp", "iat", "iss", "name", "scope", "sub"];
    let cases: [(&str, &str, &[&str]); 4] = [
        ("access_token", "JWT", &["azp", "gty"]),
        ("access_token_authz", "JWT", &["azp", "gty", "permissions"]),
        ("rfc9068_profile", "at+jwt", &["client_id", "jti"]),
        ("rfc9068_profile_authz", "at+jwt", &["client_id", "jti", "permissions"]),
    ];
    let api = |dialect: &str| Api {
        identifier: Some(dialect.to_owned()),
        dialect: serde_json::from_value(dialect.into()).unwrap(),
        ..Api::default()
    };
    let other_apis = cases.iter().map(|(dialect, ..)| api(dialect)).collect();
    let tenant = tenant(Options { other_apis, ..Options::default() });
    for (dialect, typ, own) in cases {
        let request = TokenRequest { audience: Some(dialect.into()), ..request("admin", None) };
        let [header, claims] = opened(&issued(&tenant, &request).unwrap());
        assert_eq!((&header["alg"], &header["typ"]), (&"RS256".into(), &typ.into()), "{dialect}");
        let mut expected = [&common[..], own].concat();
        expected.sort_unstable();
        let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{dialect}");
    }
}

#[test]
fn what_the_users_record_lacks_the_token_lacks() {
    let mut options = Options::default();
    options.users[0].name = None;
    options.users[0].email = None;
    options.users[1].org_id = Some("org_1".into());
    let tenant = tenant(options);
    let claims = |user| opened(&issued(&tenant, &request(user, None)).unwrap())[1].clone();
    assert_eq!((claims("admin").get("name"), claims("admin").get("email")), (None, None));
    assert_eq!(claims("admin").get("org_id"), None);
    assert_eq!(claims("user")["org_id"], "org_1");
}

#[test]
fn custom_claims_are_the_users_and_the_time_of_the_login_is_there_where_it_is_named() {
    let (plan, at) = ("https://a.example/plan", "https://a.example/at");
    let mut options = Options { auth_time_claim: at.into(), ..Options::default() };
    options.users[0].claims.insert(plan.into(), serde_json::json!(["pro"]));
    let tenant = tenant(options);
    let claims = |user| opened(&issued(&tenant, &request(user, None)).unwrap())[1].clone();
    let admin = claims("admin");
    assert_eq!((&admin[plan], &admin[at]), (&serde_json::json!(["pro"]), &admin["iat"]));
    assert_eq!((claims("user").get(plan), claims("user").get(at).is_some()), (None, true));
}

#[test]
fn a_new_tenant_has_no_api_that_tokens_could_be_for() {
    let tenant = tenant(Options::default().with_fresh_state());
    assert_eq!(issued(&tenant, &request("admin", None)).err(), Some(TokenError::NoApi));
    assert_eq!(tenant.scopes_of("admin"), [""; 0]);
}
