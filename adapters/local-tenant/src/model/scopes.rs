//! The scopes that no API defines: OpenID Connect's.

pub(crate) const OPENID: &str = "openid";
pub(crate) const PROFILE: &str = "profile";
pub(crate) const EMAIL: &str = "email";
/// Asks for a refresh token (OpenID Connect Core section 11).
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";

/// Scopes that tell a client who the user is (OpenID Connect Core section 5.4). Strict third parties never get them.
pub(crate) const IDENTITY_SCOPES: [&str; 3] = [OPENID, PROFILE, EMAIL];

/// All of them, with what the consent page says of each.
pub(crate) const STANDARD_SCOPES: [(&str, &str); 4] = [
    (OPENID, "Know who you are"),
    (PROFILE, "Read your name"),
    (EMAIL, "Read your email address"),
    (OFFLINE_ACCESS, "Keep this access while you are away"),
];
