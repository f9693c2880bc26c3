//! The claims of Auth0's access tokens, in all four dialects: the registered ones, and Auth0's own.

use domain::{Claims, ScopeSet, Untrusted};
use jwks_verifier::claims::{self, OwnClaims, few, optional, text, text_or_texts, texts};
use serde_json::Value;

/// Claims that Auth0 defines, or issues where others do not.
#[derive(Default)]
struct Auth0Claims {
    azp: Option<Value>,
    permissions: Option<Value>,
    org_id: Option<Value>,
    org_name: Option<Value>,
    gty: Option<Value>,
}

impl OwnClaims for Auth0Claims {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Value>> {
        Some(match name {
            "azp" => &mut self.azp,
            "permissions" => &mut self.permissions,
            "org_id" => &mut self.org_id,
            "org_name" => &mut self.org_name,
            "gty" => &mut self.gty,
            _ => return None,
        })
    }
}

/// Reads the claims of a proved token.
pub(crate) fn read(payload: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted> {
    let (mut claims, own) = claims::read::<Auth0Claims>(payload, token_type)?;
    let permissions = optional("permissions", own.permissions, texts)?.unwrap_or_default();
    claims.permissions = ScopeSet::granted_by(permissions.iter().map(String::as_str));
    claims.authorized_party = optional("azp", own.azp, text)?;
    claims.organization_id = optional("org_id", own.org_id, text)?;
    if own.org_name.is_some() || own.gty.is_some() {
        let extra = claims.extra.get_or_insert_default();
        extra.organization_name = optional("org_name", own.org_name, text)?;
        extra.grant_types = optional("gty", own.gty, |value| few(text_or_texts(value)?))?.unwrap_or_default();
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use Untrusted as U;
    use domain::ExtraClaims;

    use super::*;

    const LEAST: &str = r#""iss":"https://t/","aud":"api","exp":100,"sub":"u""#;

    fn with(more: &str) -> Result<Claims, U> {
        read(format!("{{{LEAST}{more}}}").as_bytes(), None)
    }

    #[test]
    fn auth0s_own_claims_are_read_beside_the_registered_ones() {
        let claims =
            with(r#","client_id":"c","azp":"z","scope":"a","permissions":["b","c d","e"],"org_id":"o""#)
                .unwrap();
        assert_eq!(claims.client_id.as_deref(), Some("c"));
        assert_eq!(claims.authorized_party.as_deref(), Some("z"));
        assert_eq!((claims.scope.to_string(), claims.permissions.to_string()), ("a".into(), "b e".into()));
        assert_eq!((claims.organization_id.as_deref(), claims.extra), (Some("o"), None));
        let extra =
            *with(r#","org_name":"acme","gty":"client-credentials","acr":"r""#).unwrap().extra.unwrap();
        assert_eq!(extra.organization_name.as_deref(), Some("acme"));
        assert_eq!(extra.grant_types, ["client-credentials"]);
        assert_eq!(extra.authentication_context.as_deref(), Some("r"));
        let extra = *with(r#","gty":["a","b"]"#).unwrap().extra.unwrap();
        assert_eq!(extra.grant_types, ["a", "b"]);
    }

    #[test]
    fn the_list_of_grant_types_is_bounded() {
        let list = |length: usize| format!(",\"gty\":{}", serde_json::json!(vec!["x"; length]));
        assert!(with(&list(ExtraClaims::MAX_VALUES)).is_ok());
        assert_eq!(with(&list(ExtraClaims::MAX_VALUES + 1)), Err(U::InvalidClaim("gty")));
    }

    #[test]
    fn an_optional_claim_that_is_null_is_absent() {
        let least = with("").unwrap();
        for name in ["azp", "permissions", "org_id"] {
            assert_eq!(with(&format!(",\"{name}\":null")).as_ref(), Ok(&least), "{name}");
        }
        for name in ["org_name", "gty"] {
            let claims = with(&format!(",\"{name}\":null")).unwrap();
            assert_eq!(claims.extra.as_deref(), Some(&ExtraClaims::default()), "{name}");
        }
    }

    #[test]
    fn a_claim_of_the_wrong_json_type_is_named() {
        let not_strings = ["1", "true", "[\"a\"]", "{}"];
        let not_lists = ["\"a\"", "1", "{}", "[1]", "[null]"];
        let neither = ["1", "true", "{}", "[1]", "[\"a\",null]", "[[\"a\"]]"];
        let cases: [(&'static str, &[&str]); 5] = [
            ("azp", &not_strings),
            ("permissions", &not_lists),
            ("org_id", &not_strings),
            ("org_name", &not_strings),
            ("gty", &neither),
        ];
        for (name, values) in cases {
            for value in values {
                assert_eq!(
                    with(&format!(",\"{name}\":{value}")),
                    Err(U::InvalidClaim(name)),
                    "{name}: {value}"
                );
            }
        }
    }
}
