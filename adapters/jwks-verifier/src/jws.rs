//! The compact JWS serialization (RFC 7515 section 7.1): its parts, its header, its signature.
//!
//! It knows neither what the payload claims nor where keys come from: `jku`, `jwk`, `x5u` and `x5c` are not even
//! read, so a token can't bring its own key.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Untrusted;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::JwtVerifier;
use syntax::strict_json::{self, Fault, Json, Members, Unread};

/// The maximum nesting of a header or payload. Registered claims nest few levels; custom ones may nest further.
pub const MAX_DEPTH: usize = 32;

/// A token split into its parts; nothing of it is trusted yet.
#[derive(Debug)]
pub(crate) struct Jws<'t> {
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
    /// `header.payload`, which is what was signed.
    signed: &'t str,
}

/// A header that was read, and is yet to be judged.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    is_rs256: bool,
    has_crit: bool,
    kid: Option<String>,
    pub(crate) token_type: Option<String>,
}

/// The parts of the header that matter here: which key to try, and what kind of token this claims to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kid: String,
    pub(crate) token_type: Option<String>,
}

impl<'t> Jws<'t> {
    /// Splits at the dots. Five parts are a JWE (RFC 7516 section 7.1), one is a reference token: issuers have such tokens
    /// for clients that named no API, among others.
    pub(crate) fn split(token: &'t str) -> Result<Self, Untrusted> {
        let Some((signed, signature)) = token.rsplit_once('.') else { return Err(Untrusted::Opaque) };
        match signed.split_once('.') {
            Some((header, payload)) if !payload.contains('.') => {
                Ok(Self { header, payload, signature, signed })
            }
            Some((_, rest)) if rest.matches('.').count() == 2 => Err(Untrusted::Opaque),
            _ => Err(Untrusted::Malformed),
        }
    }

    /// Reads the header's parameters. They are refused later: by the methods of [`Parameters`].
    pub(crate) fn parameters(&self) -> Result<Parameters, Untrusted> {
        let json = decoded(self.header)?;
        let Ok(Json::Object(wire)) = strict_json::read::<WireHeader<'_>>(&json, MAX_DEPTH) else {
            return Err(Untrusted::Malformed);
        };
        let alg = text(wire.alg)?.ok_or(Untrusted::Malformed)?;
        let (kid, token_type) = (text(wire.kid)?, text(wire.typ)?);
        // The comparison is the whole allow-list: "none", HS256 keyed with the public key (RFC 8725 section 2.1), and
        // spellings such as "rs256" all end here.
        let is_rs256 = alg == "RS256";
        let (kid, token_type) = (kid.map(Cow::into_owned), token_type.map(Cow::into_owned));
        Ok(Parameters { is_rs256, has_crit: wire.has_crit, kid, token_type })
    }

    /// Reads the header. It is refused if no key could make the token acceptable.
    pub(crate) fn header(&self) -> Result<Header, Untrusted> {
        let parameters = self.parameters()?;
        parameters.check_algorithm()?;
        parameters.check_extensions()?;
        parameters.into_header()
    }

    /// Returns the payload's text, of which nobody knows who wrote it: to be shown to whoever has the token, and for nothing
    /// else.
    pub(crate) fn unproved_payload(&self) -> Result<Vec<u8>, Untrusted> {
        decoded(self.payload)
    }

    /// Proves that the holder of `key` signed exactly this header and payload.
    pub(crate) fn prove(&self, key: &dyn JwtVerifier) -> Result<Proved<'t>, Untrusted> {
        if key.algorithm() != Algorithm::RS256 {
            return Err(Untrusted::Algorithm);
        }
        let signature = decoded(self.signature)?;
        key.verify(self.signed.as_bytes(), &signature).map_err(|_| Untrusted::Signature)?;
        Ok(Proved { header: self.header, payload: self.payload })
    }
}

impl Parameters {
    /// Checks that the header names RS256.
    pub(crate) const fn check_algorithm(&self) -> Result<(), Untrusted> {
        if self.is_rs256 { Ok(()) } else { Err(Untrusted::Algorithm) }
    }

    /// Checks that the header demands no extension.
    pub(crate) const fn check_extensions(&self) -> Result<(), Untrusted> {
        if self.has_crit { Err(Untrusted::CriticalHeader) } else { Ok(()) }
    }

    /// Returns what is needed from here on. RFC 7515 makes `kid` optional, so a token without one is well-formed. To try it
    /// with every key would let anyone cause a signature check per key.
    pub(crate) fn into_header(self) -> Result<Header, Untrusted> {
        let Self { kid, token_type, .. } = self;
        Ok(Header { kid: kid.ok_or(Untrusted::UnknownKey)?, token_type })
    }
}

/// The header of the token that was proved last, with its text. Most tokens of an issuer have the same, which is not read again.
#[derive(Default)]
pub(crate) struct KnownHeader(ArcSwapOption<(Box<str>, Arc<Header>)>);

impl KnownHeader {
    /// Returns the header of a token, as [`Jws::header`] does.
    pub(crate) fn of(&self, jws: &Jws<'_>) -> Result<Arc<Header>, Untrusted> {
        match self.0.load().as_deref() {
            Some((text, header)) if **text == *jws.header => Ok(Arc::clone(header)),
            _ => jws.header().map(Arc::new),
        }
    }

    /// Keeps the header of a proved token, as [`KnownHeader::of`] returned it: what anyone may send does not get here.
    pub(crate) fn keep(&self, proved: &Proved<'_>, header: &Arc<Header>) {
        if self.0.load().as_deref().is_none_or(|(text, _)| **text != *proved.header) {
            self.0.store(Some(Arc::new((proved.header.into(), Arc::clone(header)))));
        }
    }
}

/// A payload whose signature was proved. Only [`Jws::prove`] makes one, so no claim that decides anything is read before.
#[derive(Debug)]
pub(crate) struct Proved<'t> {
    header: &'t str,
    payload: &'t str,
}

impl Proved<'_> {
    /// Returns the payload's text.
    pub(crate) fn payload(&self) -> Result<Vec<u8>, Untrusted> {
        decoded(self.payload)
    }
}

/// Decodes a part that must be strict base64url: no padding, no stray bits in the last character.
fn decoded(part: &str) -> Result<Vec<u8>, Untrusted> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Untrusted::Malformed)
}

/// The parameters that are read, of any JSON type.
#[derive(Default)]
struct WireHeader<'a> {
    alg: Option<Json<'a>>,
    kid: Option<Json<'a>>,
    typ: Option<Json<'a>>,
    has_crit: bool,
}

impl<'a> Members<'a> for WireHeader<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        let parameter = match name {
            "alg" => &mut self.alg,
            "kid" => &mut self.kid,
            "typ" => &mut self.typ,
            _ => {
                self.has_crit |= name == "crit";
                return value.skip();
            }
        };
        *parameter = Some(value.read()?);
        Ok(())
    }
}

/// Returns a parameter that must be a string if it is there.
fn text(parameter: Option<Json<'_>>) -> Result<Option<Cow<'_, str>>, Untrusted> {
    match parameter {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(Untrusted::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::signature::Verifier;

    use super::*;
    use Untrusted as U;

    #[test]
    fn three_parts_are_a_jws_and_five_or_one_are_opaque() {
        let jws = Jws::split("a.b.c").unwrap();
        assert_eq!((jws.header, jws.payload, jws.signature, jws.signed), ("a", "b", "c", "a.b"));
        for (token, expected) in [
            ("abc", U::Opaque),
            ("a.b.c.d.e", U::Opaque),
            ("a..c.d.e", U::Opaque),
            ("....", U::Opaque),
            ("a.b", U::Malformed),
            ("a.b.c.d", U::Malformed),
            ("...", U::Malformed),
            ("a.b.c.d.e.f", U::Malformed),
        ] {
            assert_eq!(Jws::split(token).unwrap_err(), expected, "{token}");
        }
    }

    #[test]
    fn a_known_header_is_that_of_the_same_text_alone() {
        let token = |json: &str| format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(json));
        let (first, second) = (token(r#"{"alg":"RS256","kid":"a"}"#), token(r#"{"alg":"RS256","kid":"b"}"#));
        let (known, none) = (KnownHeader::default(), token(r#"{"alg":"none","kid":"a"}"#));
        let of = |token: &str| known.of(&Jws::split(token).unwrap()).map(|header| header.kid.clone());
        for proved in [&first, &second, &first] {
            let jws = Jws::split(proved).unwrap();
            let proved = Proved { header: jws.header, payload: jws.payload };
            known.keep(&proved, &known.of(&jws).unwrap());
            assert!(Arc::ptr_eq(&known.of(&jws).unwrap(), &known.of(&jws).unwrap()));
            assert_eq!((of(&first).as_deref(), of(&second).as_deref()), (Ok("a"), Ok("b")));
            assert_eq!(of(&none), Err(U::Algorithm));
        }
    }

    fn header(part: &str) -> Result<Header, U> {
        Jws::split(&format!("{part}.e30.c2ln")).unwrap().header()
    }

    #[track_caller]
    fn check(json: &str, expected: Result<(&str, Option<&str>), U>) {
        let expected =
            expected.map(|(kid, typ)| Header { kid: kid.into(), token_type: typ.map(str::to_owned) });
        assert_eq!(header(&URL_SAFE_NO_PAD.encode(json)), expected, "{json}");
    }

    #[test]
    fn the_header_names_a_key_and_a_type() {
        check(r#"{"alg":"RS256","kid":"k","typ":"at+jwt"}"#, Ok(("k", Some("at+jwt"))));
        check(r#" { "kid" : "\u006b\"" , "alg" : "RS256" } "#, Ok(("k\"", None)));
        check(r#"{"alg":"RS256","kid":"","jku":"https://evil","jwk":{},"x5u":1,"x5c":[]}"#, Ok(("", None)));
        check(r#"{"alg":"RS256","typ":"JWT"}"#, Err(U::UnknownKey));
    }

    #[test]
    fn only_rs256_is_an_algorithm() {
        for alg in
            ["none", "None", "", "HS256", "RS384", "RS512", "PS256", "ES256", "rs256", "RS256 ", "Rs256"]
        {
            check(&format!(r#"{{"alg":"{alg}","kid":"k"}}"#), Err(U::Algorithm));
        }
        check(r#"{"alg":"RS\u003256","kid":"k"}"#, Ok(("k", None)));
    }

    /// A key by which every signature is good.
    #[derive(Debug)]
    struct Any(Algorithm);

    impl Verifier<Vec<u8>> for Any {
        fn verify(&self, _: &[u8], _: &Vec<u8>) -> Result<(), jsonwebtoken::signature::Error> {
            Ok(())
        }
    }

    impl JwtVerifier for Any {
        fn algorithm(&self) -> Algorithm {
            self.0
        }
    }

    #[test]
    fn a_key_of_another_algorithm_proves_nothing() {
        let jws = Jws::split("e30.e30.c2ln").unwrap();
        assert!(jws.prove(&Any(Algorithm::RS256)).is_ok());
        for other in [Algorithm::HS256, Algorithm::RS384, Algorithm::PS256, Algorithm::ES256] {
            assert_eq!(jws.prove(&Any(other)).unwrap_err(), U::Algorithm, "{other:?}");
        }
    }

    #[test]
    fn a_critical_extension_is_refused_whatever_its_value() {
        for crit in ["[\"b64\"]", "[]", "null", "\"exp\""] {
            check(&format!(r#"{{"alg":"RS256","kid":"k","crit":{crit}}}"#), Err(U::CriticalHeader));
        }
    }

    #[test]
    fn a_header_is_one_object_of_the_right_types_without_duplicates() {
        for json in [
            "",
            "[]",
            "\"RS256\"",
            "null",
            r#"{"kid":"k"}"#,
            r#"{"alg":256,"kid":"k"}"#,
            r#"{"alg":null,"kid":"k"}"#,
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","kid":"k","typ":["JWT"]}"#,
            r#"{"alg":"RS256","kid":"k","typ":null}"#,
            r#"{"alg":"none","alg":"RS256","kid":"k"}"#,
            r#"{"alg":"RS256","kid":"k","x":{"y":1,"y":2}}"#,
            r#"{"alg":"RS256","kid":"k"}x"#,
            r#"["RS256","k",null,null]"#,
        ] {
            check(json, Err(U::Malformed));
        }
        let deep = format!(r#"{{"alg":"RS256","kid":"k","x":{}{}}}"#, "[".repeat(32), "]".repeat(32));
        check(&deep, Err(U::Malformed));
    }

    #[test]
    fn base64url_is_strict() {
        // `{"alg":"RS256","kid":"k"}` is 25 bytes, so its last character carries four bits that must be zero.
        let good = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k"}"#);
        assert!(header(&good).is_ok());
        let stray_bits = format!("{}R", good.strip_suffix('Q').unwrap());
        let padded = format!("{good}==");
        let plus = good.replacen('e', "+", 1);
        for bad in [stray_bits, padded, plus, format!("{good}\n"), format!(" {good}"), String::new()] {
            assert_eq!(header(&bad), Err(U::Malformed), "{bad:?}");
        }
    }
}
