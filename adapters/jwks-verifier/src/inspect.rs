//! What each check says of a token, for whoever wants to know why it is refused. The checks are the functions that
//! [`JwksVerifier::verify`](crate::JwksVerifier) calls, in its order; here the later ones are made, too, as far as they can be.

use domain::{BearerToken, Claims, Untrusted, VerifyError};

use crate::IdentityProvider;
use crate::jws::{Jws, Parameters};
use crate::keys::KeyStore;

/// What is checked of a token before its claims are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureCheck {
    /// It has the three parts of a compact JWS.
    Parts,
    /// The header is strict base64url and JSON.
    Header,
    /// The header names RS256.
    Algorithm,
    /// The header demands no extension.
    Extensions,
    /// The issuer publishes the key that the header names.
    Key,
    /// The key signed the token.
    Signature,
    /// The payload is strict base64url and JSON, and has the required claims, each with the right type.
    Claims,
}

impl SignatureCheck {
    /// Every check, in the order in which they are made.
    pub const ALL: [Self; 7] = [
        Self::Parts,
        Self::Header,
        Self::Algorithm,
        Self::Extensions,
        Self::Key,
        Self::Signature,
        Self::Claims,
    ];

    /// Returns the name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parts => "parts",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::Extensions => "extensions",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
        }
    }
}

/// What the checks say of a token.
#[derive(Debug, Default)]
pub struct Inspection {
    verdicts: [Option<Result<(), VerifyError>>; SignatureCheck::ALL.len()],
    /// What the token claims, if that can be read. Nobody has proved it, unless [`Inspection::is_proved`].
    pub claims: Option<Claims>,
}

impl Inspection {
    /// Returns what a check says; `None` if it can't be made, because an earlier one failed or there are no keys to judge by.
    #[must_use]
    pub fn verdict(&self, check: SignatureCheck) -> Option<Result<(), VerifyError>> {
        self.verdicts.get(check as usize).copied().flatten()
    }

    /// Returns why the token is refused: by the first check that failed.
    #[must_use]
    pub fn failure(&self) -> Option<VerifyError> {
        self.verdicts.iter().flatten().find_map(|verdict| verdict.err())
    }

    /// Returns whether a check before this one failed.
    #[must_use]
    pub fn failure_before(&self, check: SignatureCheck) -> bool {
        self.verdicts.iter().take(check as usize).flatten().any(Result::is_err)
    }

    /// Returns whether the signature was proved.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.verdict(SignatureCheck::Signature) == Some(Ok(()))
    }

    /// Notes what a check says.
    fn note<T>(&mut self, check: SignatureCheck, result: Result<T, impl Into<VerifyError>>) -> Option<T> {
        let result = result.map_err(Into::into);
        if let Some(verdict) = self.verdicts.get_mut(check as usize) {
            *verdict = Some(result.as_ref().map(drop).map_err(|error| *error));
        }
        result.ok()
    }
}

/// Inspects a token without keys, so its signature is not judged.
pub async fn inspect_offline(provider: &impl IdentityProvider, token: &BearerToken) -> Inspection {
    inspect(provider, token, None).await
}

pub(crate) async fn inspect(
    provider: &impl IdentityProvider,
    token: &BearerToken,
    keys: Option<&KeyStore>,
) -> Inspection {
    let mut inspection = Inspection::default();
    let Some(jws) = inspection.note(SignatureCheck::Parts, Jws::split(token.expose())) else {
        return inspection;
    };
    let Some(parameters) = inspection.note(SignatureCheck::Header, jws.parameters()) else {
        return inspection;
    };
    let token_type = parameters.token_type.clone();
    let algorithm = inspection.note(SignatureCheck::Algorithm, parameters.check_algorithm());
    let extensions = inspection.note(SignatureCheck::Extensions, parameters.check_extensions());
    if let (Some(()), Some(())) = (algorithm, extensions) {
        prove(&mut inspection, &jws, parameters, keys).await;
    }
    let claims = jws.unproved_payload().and_then(|payload| provider.claims(&payload, token_type));
    inspection.claims = inspection.note(SignatureCheck::Claims, claims);
    inspection
}

/// Judges key and signature, as far as there are keys. That the header names none is told without them.
async fn prove(inspection: &mut Inspection, jws: &Jws<'_>, parameters: Parameters, keys: Option<&KeyStore>) {
    let header = match (parameters.into_header(), keys) {
        (Ok(header), Some(_)) => header,
        (Ok(_), None) => return,
        (Err(error), _) => {
            inspection.note(SignatureCheck::Key, Err::<(), Untrusted>(error));
            return;
        }
    };
    let Some(keys) = keys else { return };
    if let Some(resolved) = inspection.note(SignatureCheck::Key, keys.resolve(&header.kid).await) {
        inspection.note(SignatureCheck::Signature, jws.prove(&*resolved.key));
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::provider::testing::TestProvider;

    async fn offline(header: &str) -> Inspection {
        let header = URL_SAFE_NO_PAD.encode(header);
        inspect_offline(&TestProvider, &BearerToken::new(format!("{header}.e30.AA")).unwrap()).await
    }

    #[tokio::test]
    async fn each_check_says_what_it_is_about_and_nothing_is_proved_without_keys() {
        use SignatureCheck::{Algorithm, Claims, Extensions, Key, Signature};
        let good = offline(r#"{"alg":"RS256","kid":"k"}"#).await;
        for check in [Algorithm, Extensions] {
            assert_eq!(good.verdict(check), Some(Ok(())));
        }
        assert_eq!((good.verdict(Key), good.verdict(Signature), good.is_proved()), (None, None, false));
        assert!(matches!(good.verdict(Claims), Some(Err(_))), "the later checks are made all the same");
        for (header, check, untrusted) in [
            (r#"{"alg":"none","kid":"k"}"#, Algorithm, Untrusted::Algorithm),
            (r#"{"alg":"HS256","kid":"k"}"#, Algorithm, Untrusted::Algorithm),
            (r#"{"alg":"RS256","kid":"k","crit":["b64"]}"#, Extensions, Untrusted::CriticalHeader),
            (r#"{"alg":"RS256"}"#, Key, Untrusted::UnknownKey),
        ] {
            let refused = offline(header).await;
            assert_eq!(refused.verdict(check), Some(Err(untrusted.into())), "{header}");
            assert_eq!(refused.failure(), Some(untrusted.into()), "{header}");
            assert!(refused.failure_before(Signature) && !refused.failure_before(check), "{header}");
        }
    }

    #[test]
    fn a_known_key_alone_proves_nothing() {
        let mut inspection = Inspection::default();
        inspection.note(SignatureCheck::Key, Ok::<(), Untrusted>(()));
        assert!(!inspection.is_proved());
        inspection.note(SignatureCheck::Signature, Err::<(), _>(Untrusted::Signature));
        assert!(!inspection.is_proved());
        inspection.note(SignatureCheck::Signature, Ok::<(), Untrusted>(()));
        assert!(inspection.is_proved());
    }
}
