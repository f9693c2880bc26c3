//! `/tenants/settings`.

use serde_json::{Map, Value};

use super::Call;
use super::answer::{Answer, value};
use super::body::{Kind, additional, read, wrong_type};
use super::error::ApiError;
use crate::model::directory::Settings;

const MAX_TEXT_CHARS: usize = 2048;

/// The settings that are kept as they are sent: they decide nothing here.
const OTHERS: &[(&str, Kind)] = &[
    ("change_password", Kind::Object),
    ("device_flow", Kind::Object),
    ("guardian_mfa_page", Kind::Object),
    ("default_directory", Kind::Text),
    ("error_page", Kind::Object),
    ("default_token_quota", Kind::Object),
    ("picture_url", Kind::Text),
    ("support_email", Kind::Text),
    ("support_url", Kind::Text),
    ("allowed_logout_urls", Kind::List),
    ("session_lifetime_in_minutes", Kind::Number),
    ("idle_session_lifetime_in_minutes", Kind::Number),
    ("ephemeral_session_lifetime", Kind::Number),
    ("idle_ephemeral_session_lifetime", Kind::Number),
    ("ephemeral_session_lifetime_in_minutes", Kind::Number),
    ("idle_ephemeral_session_lifetime_in_minutes", Kind::Number),
    ("sandbox_version", Kind::Text),
    ("legacy_sandbox_version", Kind::Text),
    ("default_redirection_uri", Kind::Text),
    ("enabled_locales", Kind::List),
    ("security_headers", Kind::Object),
    ("session_cookie", Kind::Object),
    ("sessions", Kind::Object),
    ("oidc_logout", Kind::Object),
    ("customize_mfa_in_postlogin_action", Kind::Flag),
    ("allow_organization_name_in_authentication_api", Kind::Flag),
    ("acr_values_supported", Kind::List),
    ("mtls", Kind::Object),
    ("pushed_authorization_requests_supported", Kind::Flag),
    ("skip_non_verifiable_callback_uri_confirmation_prompt", Kind::Flag),
    ("enable_ai_guide", Kind::Flag),
    ("phone_consolidated_experience", Kind::Flag),
    ("include_session_metadata_in_tenant_logs", Kind::Flag),
    ("country_codes", Kind::Object),
];

/// The settings that decide something.
const DECIDING: &[&str] = &[
    "friendly_name",
    "flags",
    "default_audience",
    "resource_parameter_profile",
    "client_id_metadata_document_supported",
    "authorization_response_iss_parameter_supported",
    "dynamic_client_registration_security_mode",
    "session_lifetime",
    "idle_session_lifetime",
];

const FLAGS: &[&str] = &[
    "change_pwd_flow_v1",
    "enable_apis_section",
    "disable_impersonation",
    "enable_client_connections",
    "enable_pipeline2",
    "allow_legacy_delegation_grant_types",
    "allow_legacy_ro_grant_types",
    "allow_legacy_tokeninfo_endpoint",
    "enable_legacy_profile",
    "enable_idtoken_api2",
    "enable_public_signup_user_exists_error",
    "enable_sso",
    "allow_changing_enable_sso",
    "disable_clickjack_protection_headers",
    "no_disclose_enterprise_connections",
    "enforce_client_authentication_on_passwordless_start",
    "enable_adfs_waad_email_verification",
    "revoke_refresh_token_grant",
    "dashboard_log_streams_next",
    "dashboard_insights_view",
    "disable_fields_map_fix",
    "mfa_show_factor_list_on_enrollment",
    "remove_alg_from_jwks",
    "improved_signup_bot_detection_in_classic",
    "genai_trial",
    "local_resource_discovery",
    "enable_dynamic_client_registration",
    "disable_management_api_sms_obfuscation",
    "trust_azure_adfs_email_verified_connection_property",
    "custom_domains_provisioning",
    "use_scope_descriptions_for_consent",
    "enable_custom_domain_in_emails",
    "require_pushed_authorization_requests",
];

const LIFETIMES: [&str; 4] = [
    "session_lifetime",
    "idle_session_lifetime",
    "ephemeral_session_lifetime",
    "idle_ephemeral_session_lifetime",
];

pub(super) fn get(call: &Call<'_>) -> Answer {
    Answer::ok(&call.state().settings)
}

/// Changes settings. Flags are merged, all others are replaced as a whole. Null resets a setting; what it does at Auth0 is not
/// documented.
pub(super) fn update(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut changes = call.body()?.into_members();
    check_lifetimes(&changes)?;
    let flags = changes.remove("flags");
    call.change(|state| {
        let mut settings = object(value(&state.settings));
        if let Some(flags) = flags {
            merge_flags(&mut settings, flags)?;
        }
        for (name, value) in changes {
            set(&mut settings, &name, value)?;
        }
        state.settings = read("settings", Value::Object(settings))?;
        Ok(Answer::ok(&state.settings))
    })
}

fn set(settings: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), ApiError> {
    let other = OTHERS.iter().find(|(known, _)| *known == name);
    if other.is_none() && !DECIDING.contains(&name) {
        return Err(additional(name));
    }
    if value.is_null() {
        settings.remove(name);
        return Ok(());
    }
    if value.as_str().is_some_and(|text| text.chars().count() > MAX_TEXT_CHARS) {
        return Err(ApiError::property(name, format!("String is longer than {MAX_TEXT_CHARS} characters")));
    }
    match other {
        Some((_, kind)) if !kind.is_that_of(&value) => return Err(wrong_type(name, kind.name(), &value)),
        Some(_) => {}
        // Read alone, so that the error names it.
        None => {
            let alone = Map::from_iter([(name.to_owned(), value.clone())]);
            read::<Settings>(name, Value::Object(alone))?;
        }
    }
    settings.insert(name.to_owned(), value);
    Ok(())
}

fn merge_flags(settings: &mut Map<String, Value>, flags: Value) -> Result<(), ApiError> {
    let Value::Object(changes) = flags else {
        return Err(wrong_type("flags", "object", &flags));
    };
    let mut merged = settings.remove("flags").map(object).unwrap_or_default();
    for (name, flag) in changes {
        if !FLAGS.contains(&name.as_str()) {
            return Err(additional(&name));
        }
        if !flag.is_boolean() {
            return Err(wrong_type(&name, "boolean", &flag));
        }
        merged.insert(name, flag);
    }
    settings.insert("flags".to_owned(), Value::Object(merged));
    Ok(())
}

/// Checks that a lifetime is a positive number, in hours or in minutes but not in both.
fn check_lifetimes(changes: &Map<String, Value>) -> Result<(), ApiError> {
    for name in LIFETIMES {
        let minutes = format!("{name}_in_minutes");
        if changes.contains_key(name) && changes.contains_key(&minutes) {
            return Err(ApiError::property(&minutes, format!("Not allowed beside {name}")));
        }
        for name in [name, &minutes] {
            let number = changes.get(name).and_then(Value::as_f64);
            if number.is_some_and(|number| number <= 0.0 || number > 1e6) {
                return Err(ApiError::property(name, "Value is not within its range"));
            }
        }
    }
    Ok(())
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}
