"""Auth0's SDK for Python against a local tenant's Management API: its models refuse answers that lack what Auth0's have.

Usage: python management_sdk.py PATH_TO_BINARY
"""

import json
import sys
import urllib.request
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
from auth0.management import ManagementClient, errors, token_provider
from auth0.management.core.api_error import ApiError

from checks import ok, same, start_fresh, stop, summary

API = "https://mcp.example.com/mcp"
ADMIN = "auth0|local-admin"


class Plain(httpx.HTTPTransport):
    """The SDK speaks https alone, and the local tenant http."""

    def handle_request(self, request):
        request.url = request.url.copy_with(scheme="http")
        return super().handle_request(request)


def refused(call, kind, status, code, text):
    """The SDK's own class of an error, with Auth0's error object."""
    try:
        call()
    except ApiError as error:
        body = error.body if isinstance(error.body, dict) else error.body.model_dump()
        same((type(error), error.status_code, body["statusCode"]), (kind, status, status))
        same((body.get("errorCode"), text in body["message"]), (code, True))
    else:
        raise AssertionError(f"not refused with {status}")


def inject(issuer, **fault):
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{issuer}local-tenant/fault", json.dumps(fault).encode(), headers)
    urllib.request.urlopen(request).close()


def sdk(issuer, client_id, secret, http):
    """The SDK with its own way to a token."""
    audience = f"{issuer}api/v2/"
    return ManagementClient(
        domain=urlsplit(issuer).netloc, client_id=client_id, client_secret=secret, audience=audience, httpx_client=http
    )


def settings(client):
    same(client.tenants.settings.get().resource_parameter_profile, "audience")
    changed = client.tenants.settings.update(
        resource_parameter_profile="compatibility", flags={"enable_dynamic_client_registration": True}
    )
    same(changed.model_dump(), client.tenants.settings.get().model_dump())
    same((changed.resource_parameter_profile, changed.flags.enable_dynamic_client_registration), ("compatibility", True))
    same(client.prompts.get_settings().universal_login_experience, "new")
    same(client.prompts.update_settings(universal_login_experience="new").universal_login_experience, "new")
    ok("tenant settings and prompts")


def apis(client):
    scopes = [{"value": "tool:greet", "description": "Greet"}]
    created = client.resource_servers.create(identifier=API, name="MCP server", scopes=scopes)
    changed = client.resource_servers.update(
        created.id, token_dialect="rfc9068_profile_authz", enforce_policies=True, allow_offline_access=True
    )
    same((changed.token_dialect, changed.enforce_policies), ("rfc9068_profile_authz", True))
    same(client.resource_servers.get(API).model_dump(), changed.model_dump())
    page = client.resource_servers.list(per_page=1)
    same((page.response.total, page.has_next), (2, True))
    same([api.identifier == API for api in page], [False, True])
    refused(lambda: client.resource_servers.create(identifier=API), errors.ConflictError, 409, "conflict", "already")
    refused(
        lambda: client.resource_servers.get("none"), errors.NotFoundError, 404, "inexistent_resource_server", "not exist"
    )
    ok("APIs, by pages, and what is refused")


def clients_and_grants(client):
    third = client.clients.create(name="Third", is_first_party=False, callbacks=["https://app.example.com/"])
    same((third.client_id[:4], third.third_party_security_mode), ("tpc_", "strict"))
    machine = client.clients.create(name="Machine", app_type="non_interactive")
    same(client.clients.update(machine.client_id, name="Renamed").name, "Renamed")
    same(client.clients.get(machine.client_id).client_secret, machine.client_secret)
    same([found.client_id for found in client.clients.list(is_first_party=False)], [third.client_id])

    grant = client.client_grants.create(
        default_for="third_party_clients", audience=API, subject_type="user", scope=["tool:greet"]
    )
    own = client.client_grants.create(client_id=machine.client_id, audience=API, scope=[])
    same(own.subject_type, "client")
    same(client.client_grants.update(grant.id, scope=[]).scope, [])
    same(client.client_grants.get(grant.id).id, grant.id)
    page = client.client_grants.list(take=1)
    same(bool(page.response.next), True)
    same([found.id for found in page][1:], [grant.id, own.id])
    same([found.id for found in client.client_grants.list(audience=API, subject_type="user")], [grant.id])
    client.client_grants.delete(grant.id)
    client.clients.delete(machine.client_id)
    client.clients.delete(third.client_id)
    refused(lambda: client.clients.get(third.client_id), errors.NotFoundError, 404, "inexistent_client", "not exist")
    ok("clients and client grants, by checkpoint pages")

    # Nothing listens there.
    preview = client.clients.preview_cimd_metadata(external_client_id="http://127.0.0.1:1/client.json")
    same((len(preview.errors), preview.validation), (1, None))
    ok("clients by the URL of their metadata document")


def connections(client):
    [database] = client.connections.list(name="Username-Password-Authentication")
    same((database.strategy, database.is_domain_connection), ("auth0", False))
    same(client.connections.update(database.id, is_domain_connection=True).is_domain_connection, True)
    same(client.connections.get(database.id).is_domain_connection, True)
    created = client.connections.create(name="partner", strategy="auth0")
    [first] = client.clients.list()
    client.connections.clients.update(created.id, request=[{"client_id": first.client_id, "status": True}])
    same([enabled.client_id for enabled in client.connections.clients.get(created.id)], [first.client_id])
    client.connections.delete(created.id)
    ok("connections and their clients")


def roles_and_users(client):
    role = client.roles.create(name="Greeters", description="May greet")
    same(client.roles.update(role.id, description="May greet you").description, "May greet you")
    permission = {"resource_server_identifier": API, "permission_name": "tool:greet"}
    client.roles.permissions.add(role.id, permissions=[permission])
    [found] = client.roles.permissions.list(role.id)
    same((found.permission_name, found.resource_server_name, found.description), ("tool:greet", "MCP server", "Greet"))
    [user] = client.users.list_users_by_email(email="admin@example.com")
    same((user.user_id, client.users.get(ADMIN).email), (ADMIN, "admin@example.com"))
    same(client.users.list().response.total, 2)
    client.users.roles.assign(ADMIN, roles=[role.id])
    same([found.id for found in client.users.roles.list(ADMIN)], [role.id])
    same([found.user_id for found in client.roles.users.list(role.id)], [ADMIN])
    same([found.permission_name for found in client.users.permissions.list(ADMIN)], ["tool:greet"])
    client.users.roles.delete(ADMIN, roles=[role.id])
    client.roles.users.assign(role.id, users=[ADMIN])
    client.roles.permissions.delete(role.id, permissions=[permission])
    same([found.name for found in client.roles.list(name_filter="greet")], ["Greeters"])
    client.roles.delete(role.id)
    same(list(client.users.roles.list(ADMIN)), [])
    ok("roles, their permissions and their users")


def others(client):
    organization = client.organizations.create(name="acme", display_name="Acme")
    same(organization.third_party_client_access, "block")
    same(client.organizations.update(organization.id, third_party_client_access="allow").third_party_client_access, "allow")
    same([found.id for found in client.organizations.list()], [organization.id])
    same(client.organizations.get(organization.id).name, "acme")
    client.organizations.delete(organization.id)
    same([key.current for key in client.keys.signing.list()], [True, False])
    same(client.custom_domains.list(), [])
    same(list(client.logs.list(per_page=10)), [])
    rule = client.rules.create(name="enrich", script="function (user, context, callback) { callback(); }")
    same([found.name for found in client.rules.list()], ["enrich"])
    client.rules.delete(rule.id)
    hook = client.hooks.create(name="send", script="module.exports = () => {};", trigger_id="post-user-registration")
    same([found.name for found in client.hooks.list()], ["send"])
    client.hooks.delete(hook.id)
    ok("organizations, signing keys, custom domains, logs, Rules and Hooks")


def limits(client, issuer, statuses):
    inject(issuer, fault="management", answer="rate", burst=1, per_second=1)
    statuses.clear()
    client.roles.list()
    client.roles.list()
    same(statuses, [200, 429, 200])
    inject(issuer, fault="management", answer="rate", burst=0, per_second=0)
    once = {"max_retries": 0}
    refused(
        lambda: client.roles.list(request_options=once), errors.TooManyRequestsError, 429, "too_many_requests", "limit"
    )
    ok("waits for the limit's reset after a 429, and gives up after its retries")


def main():
    # It has no option for that of its token requests.
    token_provider.httpx = SimpleNamespace(Client=lambda: httpx.Client(transport=Plain()))
    dev, issuer, client_id, secret = start_fresh(sys.argv[1])
    statuses = []
    hooks = {"response": [lambda response: statuses.append(response.status_code)]}
    try:
        inject(issuer, fault="management", answer="rate", burst=1000, per_second=1000)
        with httpx.Client(transport=Plain(), event_hooks=hooks) as http:
            try:
                sdk(issuer, client_id, "another", http).roles.list()
                raise AssertionError("a wrong secret gets a token")
            except httpx.HTTPStatusError as error:
                same(error.response.status_code, 401)
            ok("gets no token by a wrong secret")
            client = sdk(issuer, client_id, secret, http)
            for part in (settings, apis, clients_and_grants, connections, roles_and_users, others):
                part(client)
            limits(client, issuer, statuses)
    finally:
        stop(dev)
    summary("Auth0's SDK for Python")


main()
