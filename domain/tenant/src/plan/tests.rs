use super::*;
use crate::fixture::{API, DATABASE, DOCUMENT, assignment, new_tenant, set, used_tenant, wanted};
use crate::present::{Client, ClientPolicy, DefaultFor, Role, SubjectType, UserPolicy, UserRoles};

/// Carries an operation out as the Management API would; panics where it would refuse.
fn carry_out(present: &mut Present, operation: &Operation) {
    match operation {
        Operation::UpdateSettings(body) => {
            let settings = &mut present.settings;
            let flag =
                |name: &str| body.get("flags").and_then(|flags| flags.get(name)).and_then(Value::as_bool);
            let bool = |name: &str| body.get(name).and_then(Value::as_bool);
            let profile = body.get("resource_parameter_profile").and_then(Value::as_str).map(str::to_owned);
            settings.resource_parameter_profile = profile.or(settings.resource_parameter_profile.take());
            let issuer = &mut settings.authorization_response_iss_parameter_supported;
            *issuer = bool("authorization_response_iss_parameter_supported").or(*issuer);
            let documents = &mut settings.client_id_metadata_document_supported;
            *documents = bool("client_id_metadata_document_supported").or(*documents);
            let registration = &mut settings.flags.enable_dynamic_client_registration;
            *registration = flag("enable_dynamic_client_registration").or(*registration);
            let descriptions = &mut settings.flags.use_scope_descriptions_for_consent;
            *descriptions = flag("use_scope_descriptions_for_consent").or(*descriptions);
        }
        Operation::PromoteConnection { id } => {
            let connection = present.connections.iter_mut().find(|connection| connection.id == *id).unwrap();
            connection.is_domain_connection = true;
        }
        Operation::CreateApi(body) => {
            let mut api: ResourceServer = serde_json::from_value(body.clone().into()).unwrap();
            assert!(present.api(&api.identifier).is_none());
            api.id = format!("rs_new_{}", present.apis.len());
            present.apis.push(api);
        }
        Operation::UpdateApi { id, set, put, remove } => {
            let api = present.apis.iter_mut().find(|api| api.id == *id).unwrap();
            let mut set = set.clone();
            if let Some(access) = set.remove("subject_type_authorization") {
                api.subject_type_authorization = serde_json::from_value(access).unwrap();
            }
            if set.remove("token_encryption").is_some_and(|value| value.is_null()) {
                api.token_encryption = None;
            }
            api.token_dialect = set
                .remove("token_dialect")
                .and_then(|it| it.as_str().map(str::to_owned))
                .or(api.token_dialect.take());
            api.enforce_policies |= set.remove("enforce_policies") == Some(json!(true));
            api.allow_offline_access |= set.remove("allow_offline_access") == Some(json!(true));
            api.token_lifetime =
                set.remove("token_lifetime").and_then(|it| it.as_u64()).or(api.token_lifetime);
            assert!(set.is_empty(), "{set:?}");
            api.scopes.retain(|scope| {
                !remove.contains(&scope.value) && !put.iter().any(|put| put.value == scope.value)
            });
            api.scopes.extend(put.iter().cloned());
        }
        Operation::CreateGrant(body) => {
            let mut grant: ClientGrant = serde_json::from_value(body.clone().into()).unwrap();
            let api = present.api(&grant.audience).unwrap();
            assert!(grant.scope.iter().all(|scope| api.scopes.iter().any(|it| it.value == *scope)));
            grant.id = format!("cgr_new_{}", present.grants.len());
            present.grants.push(grant);
        }
        Operation::UpdateGrant { id, add, remove, .. } => {
            let grant = present.grants.iter_mut().find(|grant| grant.id == *id).unwrap();
            grant.scope.retain(|scope| !remove.contains(scope));
            grant.scope.extend(add.iter().cloned());
        }
        Operation::RegisterDocument { url } => {
            assert_eq!(present.settings.client_id_metadata_document_supported, Some(true));
            let external_client_id = Some(url.clone());
            present.clients.push(Client { external_client_id, ..Client::default() });
        }
        Operation::CreateRole { name, .. } => {
            let id = format!("rol_new_{}", present.roles.len());
            present.roles.push(Role { id, name: name.clone(), ..Role::default() });
        }
        Operation::AddPermissions { role, permissions } => {
            for permission in permissions {
                let api = present.api(&permission.resource_server_identifier).unwrap();
                assert!(api.scopes.iter().any(|scope| scope.value == permission.permission_name));
            }
            let role = present.roles.iter_mut().find(|it| it.name == *role).unwrap();
            role.permissions.extend(permissions.iter().cloned());
        }
        Operation::RemovePermissions { role, permissions } => {
            let role = present.roles.iter_mut().find(|it| it.name == *role).unwrap();
            role.permissions.retain(|permission| !permissions.contains(permission));
        }
        Operation::AssignRoles { user_id, roles } => {
            assert!(roles.iter().all(|role| present.role(role).is_some()));
            let user = present.users.iter_mut().find(|user| user.user_id == *user_id).unwrap();
            user.roles.extend(roles.iter().cloned());
        }
    }
}

fn apply(present: &mut Present, plan: &Plan) {
    for change in &plan.changes {
        carry_out(present, &change.operation);
    }
}

fn with_user(mut present: Present) -> Present {
    let user = |text: &str| text.to_owned();
    present.users =
        vec![UserRoles { asked: user("auth0|1"), user_id: user("auth0|1"), ..UserRoles::default() }];
    present
}

fn targets(plan: &Plan) -> Vec<(Action, &str)> {
    plan.changes.iter().map(|change| (change.action, change.target.as_str())).collect()
}

#[test]
fn a_new_tenant_gets_everything_in_an_order_that_works_and_once() {
    let (wanted, mut present) = (wanted(), with_user(new_tenant()));
    let first = plan(&wanted, &present, Prune::Keep);
    assert_eq!(first.blocked, []);
    let (grant, api) = (grant_target(API), format!("api {API}"));
    let (document, database) = (format!("client {DOCUMENT}"), format!("connection {DATABASE}"));
    let expected = [
        (Action::Update, "tenant settings"),
        (Action::Update, &database),
        (Action::Create, &api),
        (Action::Create, &grant),
        (Action::Create, &document),
        (Action::Create, "role MCP Admin"),
        (Action::Update, "role MCP Admin"),
        (Action::Update, "user auth0|1"),
    ];
    assert_eq!(targets(&first), expected);
    apply(&mut present, &first);
    for prune in [Prune::Keep, Prune::Remove] {
        assert_eq!(plan(&wanted, &present, prune), Plan::default());
    }
}

#[test]
fn what_others_put_into_lists_stays() {
    let (wanted, mut present) = (wanted(), with_user(used_tenant()));
    let first = plan(&wanted, &present, Prune::Keep);
    assert!(first.changes.iter().all(|change| change.action != Action::Remove));
    apply(&mut present, &first);
    let second = plan(&wanted, &present, Prune::Keep);
    assert_eq!(second.changes, []);
    let api = format!("api {API}");
    let kept: Vec<(&str, &str)> =
        second.kept.iter().map(|kept| (kept.target.as_str(), kept.what.as_str())).collect();
    let expected = [
        ("role MCP Admin", "permissions[theirs], which nothing asks for"),
        (&grant_target(API), "scope[theirs], which nothing asks for"),
        (&api, "scopes[theirs], which nothing asks for"),
    ];
    assert_eq!(kept, expected);
    assert!(present.grants[0].scope == ["theirs"], "the grant for machines is another's");
}

#[test]
fn prune_removes_what_nothing_asks_for_and_nothing_of_others() {
    let (mut wanted, mut present) = (wanted(), with_user(used_tenant()));
    let settings = plan(&wanted, &present, Prune::Keep);
    apply(&mut present, &settings);
    wanted.dynamic_registration = false;
    wanted.metadata_documents = false;
    let prune = plan(&wanted, &present, Prune::Remove);
    assert!(prune.changes.iter().all(|change| change.action == Action::Remove));
    assert_eq!(prune.kept, []);
    // No line says that a role or an API goes: their parts do.
    let text = crate::describe(&prune, crate::Style::Plain);
    assert!(text.starts_with("  ~ role MCP Admin\n") && !text.contains("\n  - "), "{text}");
    // Whoever refers to a scope goes before the scope.
    let (grant, api) = (grant_target(API), format!("api {API}"));
    let order: Vec<&str> = targets(&prune).iter().map(|(_, target)| *target).collect();
    assert_eq!(order, ["role MCP Admin", &grant, &api, "tenant settings", "tenant settings"]);
    apply(&mut present, &prune);
    assert_eq!(plan(&wanted, &present, Prune::Remove), Plan::default());
    let other = permission("urn:other", "other");
    assert!(present.roles[0].permissions.contains(&other), "another API is none of its business");
    assert_eq!(present.settings.flags.enable_dynamic_client_registration, Some(false));
    assert_eq!(present.grants[0].scope, ["theirs"], "the grant for machines is another's");
}

#[test]
fn registration_that_is_not_wanted_stays_unless_pruned() {
    let (mut wanted, mut present) = (wanted(), new_tenant());
    present.settings.flags.enable_dynamic_client_registration = Some(true);
    wanted.dynamic_registration = false;
    let kept = plan(&wanted, &present, Prune::Keep).kept;
    assert!(kept.iter().any(|kept| kept.what.starts_with("flags.enable_dynamic_client_registration is on")));
}

#[test]
fn only_a_written_description_replaces_another() {
    let (mut wanted, present) = (wanted(), used_tenant());
    let described = |wanted: &Wanted| -> BTreeSet<String> {
        let plan = plan(wanted, &present, Prune::Keep);
        let put = plan.changes.iter().find_map(|change| match &change.operation {
            Operation::UpdateApi { put, .. } => Some(put.clone()),
            _ => None,
        });
        put.unwrap().into_iter().map(|scope| scope.value).collect()
    };
    assert_eq!(described(&wanted), set(&["tool:greet"]));
    let scope = wanted.apis[0].scopes.get_mut("tool:whoami").unwrap();
    scope.is_written = true;
    assert_eq!(described(&wanted), set(&["tool:greet", "tool:whoami"]));
}

#[test]
fn a_scope_without_a_description_gets_even_one_that_nobody_wrote() {
    let (wanted, mut present) = (wanted(), used_tenant());
    present.apis[0].scopes[1].description = None;
    let plan = plan(&wanted, &present, Prune::Keep);
    let mut fields = plan.changes.iter().flat_map(|change| &change.fields);
    assert!(fields.any(|field| field.field == "scopes[tool:whoami]" && field.before == json!("")));
}

#[test]
fn what_is_in_the_way_is_taken_away() {
    let (wanted, mut present) = (wanted(), used_tenant());
    let api = &mut present.apis[0];
    api.token_dialect = Some("rfc9068_profile".to_owned());
    api.token_encryption = Some(json!({"format": "compact-nested-jwe", "encryption_key": {"pem": "a key"}}));
    api.subject_type_authorization.user = UserPolicy { policy: Some("deny_all".to_owned()) };
    api.subject_type_authorization.client = ClientPolicy { policy: Some("deny_all".to_owned()) };
    let first = plan(&wanted, &present, Prune::Keep);
    assert!(!format!("{first:?}").contains("a key"));
    apply(&mut present, &first);
    let api = &present.apis[0];
    assert_eq!(api.token_dialect.as_deref(), Some(DIALECT));
    assert_eq!(api.token_encryption, None);
    let access = &api.subject_type_authorization;
    assert_eq!(access.user.policy.as_deref(), Some("require_client_grant"));
    assert_eq!(access.client.policy.as_deref(), Some("deny_all"), "machines are none of its business");
}

#[test]
fn a_dialect_with_permissions_is_left_alone() {
    let plan = plan(&wanted(), &used_tenant(), Prune::Keep);
    assert!(
        plan.changes
            .iter()
            .flat_map(|change| &change.fields)
            .all(|field| field.setting != Setting::TokenDialect)
    );
}

#[test]
fn a_default_grant_is_one_for_users_of_third_party_clients() {
    let (wanted, mut present) = (wanted(), used_tenant());
    present.grants.pop();
    let created =
        plan(&wanted, &present, Prune::Keep).changes.into_iter().find_map(|change| match change.operation {
            Operation::CreateGrant(body) => Some(body),
            _ => None,
        });
    let body = created.unwrap();
    assert_eq!(
        (&body["subject_type"], &body["default_for"]),
        (&json!("user"), &json!("third_party_clients"))
    );
    let mut grant = present.grants[0].clone();
    (grant.subject_type, grant.allow_all_scopes) = (SubjectType::User, Some(true));
    assert_eq!(grant.default_for, Some(DefaultFor::ThirdPartyClients));
    present.grants.push(grant);
    let targets = plan(&wanted, &present, Prune::Keep);
    assert!(targets.changes.iter().all(|change| change.target != grant_target(API)), "it grants every scope");
}

#[test]
fn what_no_change_can_bring_about_is_blocked() {
    let (mut wanted, mut present) = (wanted(), used_tenant());
    wanted.connections = vec!["nowhere".to_owned()];
    wanted.assignments.push(assignment("auth0|2", &["nobody's"]));
    present.apis[0].signing_alg = Some("HS256".to_owned());
    let user = "auth0|2".to_owned();
    present.users = vec![UserRoles { asked: user.clone(), user_id: user, ..UserRoles::default() }];
    let blocked = plan(&wanted, &present, Prune::Keep).blocked;
    let found: Vec<(Setting, &str)> = blocked.iter().map(|it| (it.setting, it.target.as_str())).collect();
    let api = format!("api {API}");
    let expected = [
        (Setting::DomainConnection, "connection nowhere"),
        (Setting::SigningAlgorithm, &api),
        (Setting::RoleAssignment, "user auth0|1"),
        (Setting::RoleAssignment, "user auth0|2"),
    ];
    assert_eq!(found, expected);
    assert!(blocked[0].problem.contains(DATABASE), "it says what there is");
}

#[test]
fn a_tenant_without_a_domain_connection_needs_a_name() {
    let (mut wanted, mut present) = (wanted(), new_tenant());
    wanted.connections.clear();
    let blocked = |present: &Present| {
        plan(&wanted, present, Prune::Keep).blocked.iter().any(|it| it.target == "connections")
    };
    assert!(blocked(&present));
    present.connections[0].is_domain_connection = true;
    assert!(!blocked(&present));
}

#[test]
fn an_api_whose_identifier_differs_by_a_slash_is_another() {
    let (wanted, mut present) = (wanted(), used_tenant());
    present.apis[0].identifier = format!("{API}/");
    let plan = plan(&wanted, &present, Prune::Keep);
    assert!(plan.changes.iter().any(|change| matches!(change.operation, Operation::CreateApi(_))));
    let another = format!("api {API}/");
    assert!(plan.kept.iter().any(|kept| kept.target == another));
}

#[test]
fn nothing_is_planned_for_an_api_of_auth0s_own() {
    let mut present = used_tenant();
    present.apis[0].is_system = true;
    for prune in [Prune::Keep, Prune::Remove] {
        let plan = plan(&wanted(), &present, prune);
        assert!(plan.changes.is_empty() && plan.kept.is_empty(), "{plan:?}");
        assert_eq!(plan.blocked.len(), 1);
        assert_eq!(
            (plan.blocked[0].setting, &*plan.blocked[0].target),
            (Setting::Api, &*format!("api {API}"))
        );
    }
}

#[test]
fn space_around_a_description_is_no_difference() {
    let now =
        |description: &str| ApiScope { value: "a".to_owned(), description: Some(description.to_owned()) };
    assert!(is_described(&now("Read notes"), " Read notes\n", true));
    assert!(is_described(&now(" Read notes "), "Read notes", true));
    assert!(!is_described(&now("Read"), "Read notes", true));
    assert!(!is_described(&now(" \n"), "Read notes", false), "space alone describes nothing");
}
