//! Everything that can be wrong, as seen from outside: what users meet, and how to mend it.

use serde::{Serialize, Serializer};

use crate::check::Severity;

/// Something that can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// DNS has no such name.
    NoSuchHost,
    /// Nothing listens.
    ConnectionRefused,
    /// No answer in time.
    TimedOut,
    /// Another failure of the connection.
    ConnectionFailed,
    /// A document that is too long.
    TooLong,
    /// A certificate whose time is over.
    CertificateExpired,
    /// A certificate whose time is to come.
    CertificateNotYetValid,
    /// A certificate of an unknown authority.
    CertificateUnknownIssuer,
    /// A certificate for another name.
    CertificateOtherName,
    /// No TLS at a port that an https URL names.
    NotTls,
    /// Another failure of TLS.
    TlsFailed,
    /// An http URL to another machine.
    PlainHttp,
    /// No discovery document.
    DiscoveryMissing,
    /// A discovery document that is no JSON object.
    DiscoveryUnreadable,
    /// A discovery document of another issuer.
    IssuerDiffers,
    /// The same, of an additional issuer.
    AdditionalIssuerDiffers,
    /// A tenant that redirects.
    TenantRedirects,
    /// Another `jwks_uri`.
    KeysUrlDiffers,
    /// No PKCE.
    PkceMissing,
    /// No way to register a client.
    RegistrationMissing,
    /// No `iss` in responses.
    ResponseIssuerMissing,
    /// A status instead of keys.
    KeysRefused,
    /// Keys that are none.
    KeysUnreadable,
    /// No usable key.
    KeysUnusable,
    /// The machine's clock is ahead of the tenant's.
    ClockAhead,
    /// The machine's clock is behind the tenant's.
    ClockBehind,
    /// An answer without a token.
    NotProtected,
    /// A redirect where the endpoint should be.
    EndpointRedirects,
    /// Nothing at the endpoint's path.
    WrongPath,
    /// A host that is not answered to.
    WrongHost,
    /// A proxy without a server behind it.
    NoUpstream,
    /// Another status than 401.
    UnexpectedStatus,
    /// 401 without a challenge.
    ChallengeMissing,
    /// A challenge of another scheme.
    ChallengeOfOther,
    /// A challenge that leads to no metadata, or to other metadata.
    ChallengeMetadata,
    /// A challenge with other scopes.
    ChallengeScopes,
    /// No metadata document.
    MetadataMissing,
    /// A metadata document that is no JSON object.
    MetadataUnreadable,
    /// Metadata of another resource.
    MetadataResource,
    /// A resource that does not cover the endpoint.
    ResourceNotCovering,
    /// Metadata that names another authorization server.
    MetadataIssuer,
    /// Metadata that differs otherwise.
    MetadataDiffers,
    /// Something else answers at the well-known address of the host.
    RootUnreadable,
}

/// The texts about a fault.
pub(crate) struct Texts {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) symptom: &'static str,
    pub(crate) mend: &'static [&'static str],
}

use Severity::{Problem, Warning};

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Place {
    #[default]
    Tenant,
    Server,
}

/// Returns the texts of a failure to get an answer; `mend` is for the tenant, then for the server.
const fn connection(id: &'static str, place: Place, mend: [&'static [&'static str]; 2]) -> Texts {
    let [tenant, server] = mend;
    match place {
        Place::Tenant => Texts {
            id,
            severity: Problem,
            symptom: "the server has no keys, and answers 503 keys_unavailable; where clients fail as well, nobody logs in",
            mend: tenant,
        },
        Place::Server => Texts { id, severity: Problem, symptom: "clients can't connect", mend: server },
    }
}

const APPLY: &str = "fastmcp-auth0 tenant apply";
const SAME_CONFIGURATION: &str =
    "run this command with the configuration, and the environment, that the server runs with";
const RESTART: &str = "have the server read its configuration again: SIGHUP, or a restart";
const PASS_ON: &str = "at the proxy: pass /mcp and /.well-known/oauth-protected-resource on to the server, with their paths as they are";
const ISSUER: &str = "set auth0.issuer (AUTH0_ISSUER) to what the document says, with its slash, and name the other domain in \
                      auth0.additional_issuers";
const PROXY: &str =
    "a company network may need HTTPS_PROXY, here and for the server, and a firewall that lets it out";
const OTHER_PAGE: &str = "something else answers there: a proxy's or a firewall's page, for example";
const OPENSSL: &str = "openssl s_client -connect HOST:PORT -servername HOST shows the handshake";
const CLOCK: &str = "synchronize this machine's clock: timedatectl set-ntp true";
const DOMAIN: &str = "compare AUTH0_DOMAIN or auth0.issuer with the dashboard: Applications, the application, Settings: Domain; or \
                      Branding, Custom Domains";

impl Fault {
    /// All faults.
    pub const ALL: [Self; 43] = [
        Self::NoSuchHost,
        Self::ConnectionRefused,
        Self::TimedOut,
        Self::ConnectionFailed,
        Self::TooLong,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateUnknownIssuer,
        Self::CertificateOtherName,
        Self::NotTls,
        Self::TlsFailed,
        Self::PlainHttp,
        Self::DiscoveryMissing,
        Self::DiscoveryUnreadable,
        Self::IssuerDiffers,
        Self::AdditionalIssuerDiffers,
        Self::TenantRedirects,
        Self::KeysUrlDiffers,
        Self::PkceMissing,
        Self::RegistrationMissing,
        Self::ResponseIssuerMissing,
        Self::KeysRefused,
        Self::KeysUnreadable,
        Self::KeysUnusable,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::NotProtected,
        Self::EndpointRedirects,
        Self::WrongPath,
        Self::WrongHost,
        Self::NoUpstream,
        Self::UnexpectedStatus,
        Self::ChallengeMissing,
        Self::ChallengeOfOther,
        Self::ChallengeMetadata,
        Self::ChallengeScopes,
        Self::MetadataMissing,
        Self::MetadataUnreadable,
        Self::MetadataResource,
        Self::ResourceNotCovering,
        Self::MetadataIssuer,
        Self::MetadataDiffers,
        Self::RootUnreadable,
    ];

    /// Returns its identifier, which never changes.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.texts(Place::Tenant).id
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(crate) const fn texts(self, place: Place) -> Texts {
        match self {
            Self::NoSuchHost => connection(
                "no_such_host",
                place,
                [
                    &[DOMAIN],
                    &[
                        "a DNS record for the host of server.url or endpoints.NAME.url, or the right name there",
                    ],
                ],
            ),
            Self::ConnectionRefused => connection(
                "connection_refused",
                place,
                [
                    &[DOMAIN, PROXY],
                    &[
                        "start the server, and the proxy before it; they listen at the port that server.url or endpoints.NAME.url has, or \
                     else PORT",
                        "a server that listens on loopback alone is reached from elsewhere by server.bind (FASTMCP__SERVER__BIND)",
                    ],
                ],
            ),
            Self::TimedOut => connection(
                "timed_out",
                place,
                [
                    &[PROXY],
                    &[
                        "a firewall or security group that drops the port is the commonest cause; then a proxy whose server hangs",
                    ],
                ],
            ),
            Self::ConnectionFailed => connection(
                "connection_failed",
                place,
                [
                    &[PROXY, "curl -v shows the same failure"],
                    &["look into the log of what listens there; curl -v shows the same failure"],
                ],
            ),
            Self::TooLong => connection(
                "too_long",
                place,
                [
                    &[DOMAIN, OTHER_PAGE],
                    &[PASS_ON, "something other than the server answers at this address: ask it with curl"],
                ],
            ),
            Self::CertificateExpired => connection(
                "certificate_expired",
                place,
                [
                    &[
                        "of a custom domain: Branding, Custom Domains, and whoever manages its certificate",
                        CLOCK,
                    ],
                    &["at the proxy: renew the certificate, and have it loaded", CLOCK],
                ],
            ),
            Self::CertificateNotYetValid => {
                connection("certificate_not_yet_valid", place, [&[CLOCK], &[CLOCK]])
            }
            Self::CertificateUnknownIssuer => connection(
                "certificate_unknown_issuer",
                place,
                [
                    &[
                        "a company's proxy that opens TLS: name its authority in SSL_CERT_FILE, here and for the server",
                    ],
                    &[
                        "at the proxy: serve the whole chain, intermediate certificates included; clients take no self-signed one",
                        "where a company's own authority is meant: SSL_CERT_FILE here, and whatever the clients have for it",
                    ],
                ],
            ),
            Self::CertificateOtherName => connection(
                "certificate_other_name",
                place,
                [
                    &[
                        DOMAIN,
                        "Branding, Custom Domains: is the domain verified, and does its CNAME lead to Auth0?",
                    ],
                    &["at the proxy: a certificate for this host, and the right one for its name (SNI)"],
                ],
            ),
            Self::NotTls => connection(
                "not_tls",
                place,
                [&[DOMAIN], &["the server speaks plain HTTP: have a proxy terminate TLS at this port"]],
            ),
            Self::TlsFailed => connection("tls_failed", place, [&[OPENSSL], &[OPENSSL]]),
            Self::PlainHttp => Texts {
                id: "plain_http",
                severity: Warning,
                symptom: "tokens cross the network in the clear, and clients other than those on this machine may refuse the address",
                mend: &[
                    "have a proxy terminate TLS, and set server.url or endpoints.NAME.url to its https URL",
                ],
            },
            Self::DiscoveryMissing => Texts {
                id: "discovery_missing",
                severity: Problem,
                symptom: "clients find no address to log in at",
                mend: &[DOMAIN],
            },
            Self::DiscoveryUnreadable => Texts {
                id: "discovery_unreadable",
                severity: Problem,
                symptom: "clients find no address to log in at",
                mend: &[DOMAIN, OTHER_PAGE],
            },
            Self::IssuerDiffers => Texts {
                id: "issuer_differs",
                severity: Problem,
                symptom: "clients refuse the document, and tokens are refused as wrong_issuer",
                mend: &["Branding, Custom Domains shows which domains there are", ISSUER],
            },
            Self::AdditionalIssuerDiffers => Texts {
                id: "additional_issuer",
                severity: Warning,
                symptom: "tokens of this domain, if there are any, name another issuer and are refused as wrong_issuer",
                mend: &["name it in auth0.additional_issuers exactly as its document says, or leave it out"],
            },
            Self::TenantRedirects => Texts {
                id: "tenant_redirects",
                severity: Problem,
                symptom: "the server does not follow it: it has no keys, and answers 503 keys_unavailable",
                mend: &[DOMAIN],
            },
            Self::KeysUrlDiffers => Texts {
                id: "keys_url_differs",
                severity: Warning,
                symptom: "if the keys there are others, tokens are refused as unknown_key",
                mend: &["Branding, Custom Domains shows which domains there are", ISSUER],
            },
            Self::PkceMissing => Texts {
                id: "pkce_missing",
                severity: Problem,
                symptom: "MCP clients refuse to log in where S256 is not announced",
                mend: &[
                    "Auth0 announces it: something in front of the tenant changes the document, or the issuer is not Auth0",
                ],
            },
            Self::RegistrationMissing => Texts {
                id: "registration_missing",
                severity: Warning,
                symptom: "clients log in only with a client id that someone made and entered by hand",
                mend: &[
                    "Settings, Advanced, Settings: Client ID Metadata Document (CIMD) Registration, or Dynamic Client Registration (DCR)",
                    APPLY,
                ],
            },
            Self::ResponseIssuerMissing => Texts {
                id: "response_issuer_missing",
                severity: Warning,
                symptom: "most clients go on, without protection against mix-up attacks; one that requires `iss` refuses to log in",
                mend: &["Settings, Advanced, Settings: Include Issuer in Authorization Responses", APPLY],
            },
            Self::KeysRefused => Texts {
                id: "keys_refused",
                severity: Problem,
                symptom: "without keys every request is answered 503 keys_unavailable",
                mend: &[DOMAIN, "https://status.auth0.com tells of outages"],
            },
            Self::KeysUnreadable => Texts {
                id: "keys_unreadable",
                severity: Problem,
                symptom: "without keys every request is answered 503 keys_unavailable",
                mend: &[DOMAIN, OTHER_PAGE],
            },
            Self::KeysUnusable => Texts {
                id: "keys_unusable",
                severity: Problem,
                symptom: "every token is refused as unknown_key",
                mend: &[
                    "Settings, Signing Keys: the tenant has to sign with RS256",
                    "auth0 api get keys/signing",
                ],
            },
            Self::ClockAhead => Texts {
                id: "clock_ahead",
                severity: Problem,
                symptom: "tokens are refused as expired before their time",
                mend: &[CLOCK],
            },
            Self::ClockBehind => Texts {
                id: "clock_behind",
                severity: Problem,
                symptom: "fresh tokens are refused as not_yet_valid, and expired ones are accepted for that long",
                mend: &[CLOCK],
            },
            Self::NotProtected => Texts {
                id: "not_protected",
                severity: Problem,
                symptom: "whoever reaches the address is answered without a token, and clients never start to log in",
                mend: &[
                    "find out at once what answers there: another MCP server, or a proxy that adds a token of its own",
                    PASS_ON,
                ],
            },
            Self::EndpointRedirects => Texts {
                id: "endpoint_redirects",
                severity: Problem,
                symptom: "clients repeat a redirected POST as a GET, or drop the token, and do not connect",
                mend: &[
                    "from http to https, or to another host: set server.url or endpoints.NAME.url to the address that it leads to",
                    "to a slash more or less: switch that off at the proxy, for /mcp",
                    "to a login page: the proxy must not log users in before the server does",
                ],
            },
            Self::WrongPath => Texts {
                id: "wrong_path",
                severity: Problem,
                symptom: "clients do not connect: nothing asks them to log in",
                mend: &[
                    PASS_ON,
                    "the path is that of server.url, then server.path: neither twice, nor left out",
                ],
            },
            Self::WrongHost => Texts {
                id: "wrong_host",
                severity: Problem,
                symptom: "no request is let through",
                mend: &[
                    "at the proxy: pass the client's Host on (nginx: proxy_set_header Host $host)",
                    "or name what the proxy sends in http.allowed_hosts; the server's answer says foreign_host then",
                    "a firewall may be what refuses: its answer is none of the server's",
                ],
            },
            Self::NoUpstream => Texts {
                id: "no_upstream",
                severity: Problem,
                symptom: "clients are told that the server is not there",
                mend: &[
                    "is the server running? curl http://127.0.0.1:PORT/ready, where it runs",
                    "at the proxy: the server's address and port, by plain HTTP",
                ],
            },
            Self::UnexpectedStatus => Texts {
                id: "unexpected_status",
                severity: Problem,
                symptom: "clients begin to log in at a 401 only",
                mend: &[
                    PASS_ON,
                    "look into the log of the server, then the proxy's: which of the two answers?",
                ],
            },
            Self::ChallengeMissing => Texts {
                id: "challenge_missing",
                severity: Problem,
                symptom: "clients don't find out where to log in, or find it by guessing only",
                mend: &[
                    "at the proxy or gateway: let the response field WWW-Authenticate pass (an API gateway may rename or drop it)",
                ],
            },
            Self::ChallengeOfOther => Texts {
                id: "challenge_of_other",
                severity: Problem,
                symptom: "clients are asked for credentials that they don't have",
                mend: &[
                    "at the proxy: switch its own authentication off for /mcp and /.well-known/oauth-protected-resource",
                ],
            },
            Self::ChallengeMetadata => Texts {
                id: "challenge_metadata",
                severity: Problem,
                symptom: "clients are led to other metadata, and refuse it or log in elsewhere",
                mend: &[
                    "set server.url, or an endpoints.NAME.url, to the address that clients use",
                    "at the proxy: pass the client's Host on, and let WWW-Authenticate be as the server wrote it",
                    SAME_CONFIGURATION,
                ],
            },
            Self::ChallengeScopes => Texts {
                id: "challenge_scopes",
                severity: Warning,
                symptom: "a first login asks for other scopes than this configuration says",
                mend: &[SAME_CONFIGURATION, RESTART],
            },
            Self::MetadataMissing => Texts {
                id: "metadata_missing",
                severity: Problem,
                symptom: "clients don't find out where to log in",
                mend: &[PASS_ON],
            },
            Self::MetadataUnreadable => Texts {
                id: "metadata_unreadable",
                severity: Problem,
                symptom: "clients don't find out where to log in",
                mend: &[
                    PASS_ON,
                    "a web application that answers every path with its page has to leave this one out",
                ],
            },
            Self::MetadataResource => Texts {
                id: "metadata_resource",
                severity: Problem,
                symptom: "clients ask for a token of another API, which the server refuses as wrong_audience, or refuse the metadata",
                mend: &[
                    SAME_CONFIGURATION,
                    "auth0.audience (AUTH0_AUDIENCE), or endpoints.NAME.audience, is what the document has to say",
                    RESTART,
                ],
            },
            Self::ResourceNotCovering => Texts {
                id: "resource_not_covering",
                severity: Problem,
                symptom: "clients that compare the two (those on the official TypeScript, Python and Rust SDKs among them) do not log in",
                mend: &[
                    "Applications, APIs, Create API: with the endpoint's URL as the identifier",
                    "then AUTH0_AUDIENCE, or endpoints.NAME.audience: the same",
                ],
            },
            Self::MetadataIssuer => Texts {
                id: "metadata_issuer",
                severity: Problem,
                symptom: "clients log in elsewhere, and their tokens are refused as wrong_issuer",
                mend: &[SAME_CONFIGURATION, RESTART],
            },
            Self::MetadataDiffers => Texts {
                id: "metadata_differs",
                severity: Warning,
                symptom: "clients read something else than this configuration says, such as other scopes",
                mend: &[SAME_CONFIGURATION, RESTART],
            },
            Self::RootUnreadable => Texts {
                id: "root_unreadable",
                severity: Warning,
                symptom: "clients that look there first, or because they don't read the challenge, do not log in",
                mend: &[PASS_ON, "or have the proxy answer 404 there"],
            },
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_an_id_of_its_own_and_says_everything() {
        let ids: BTreeSet<&str> = Fault::ALL.into_iter().map(Fault::id).collect();
        assert_eq!(ids.len(), Fault::ALL.len());
        let places = [Place::Tenant, Place::Server];
        for (fault, place) in Fault::ALL.into_iter().flat_map(|fault| places.map(|place| (fault, place))) {
            let texts = fault.texts(place);
            assert!(!texts.mend.is_empty(), "{fault:?}");
            for text in texts.mend.iter().chain([&texts.symptom]) {
                assert!(!text.trim().is_empty() && !text.contains("  "), "{fault:?}: {text:?}");
            }
        }
    }
}
