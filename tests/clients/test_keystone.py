"""Who may do what, with tokens of a real Identity server."""

import time

import pytest

from conftest import auth
from identity import SHORT_LIFE

PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


@pytest.fixture(scope="module")
def tokens(keystone) -> dict[str, str]:
    """One token for each user."""
    return {user: keystone.token(user) for user in ("admin", "demo-admin", "demo-member", "demo-reader", "alt-member")}


@pytest.fixture
def image(secured, tokens) -> str:
    """An active shared image of project demo."""
    made = secured.create(tokens["demo-member"])["id"]
    secured.upload(made, b"data of demo", tokens["demo-member"])
    return made


def status(server, token: str | None, method: str, path: str, **options) -> int:
    headers = {**options.pop("headers", {}), **auth(token)}
    return server.request(method, path, headers=headers, **options).status_code


def replace(server, token: str, image: str, key: str, value) -> int:
    operation = [{"op": "replace", "path": f"/{key}", "value": value}]
    return status(server, token, "PATCH", f"/v2/images/{image}", headers=PATCH, json=operation)


def test_nobody_gets_in_without_a_token(secured, keystone, image):
    for token in (None, "", "nonsense", "a" * 5000):
        for method, path in (
            ("GET", "/v2/images"),
            ("GET", f"/v2/images/{image}"),
            ("GET", f"/v2/images/{image}/file"),
            ("GET", "/v2/schemas/image"),
            ("DELETE", f"/v2/images/{image}"),
        ):
            headers = {} if token is None else {"X-Auth-Token": token}
            reply = secured.request(method, path, headers=headers)
            assert reply.status_code == 401, (token, method, path)
            challenge = reply.headers["WWW-Authenticate"]
            assert challenge.startswith("Keystone uri=") and keystone.url in challenge, challenge
    assert secured.get("/versions").status_code == 200
    assert secured.get("/").status_code == 300
    assert secured.get("/healthcheck").status_code == 200


def test_an_upload_without_a_token_is_not_asked_for(secured, image):
    import socket
    import urllib.parse

    where = urllib.parse.urlsplit(secured.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        lines = [
            f"PUT /v2/images/{image}/file HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/octet-stream",
            "Content-Length: 1000000",
            "Expect: 100-continue",
        ]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_identity_headers_of_a_client_mean_nothing(secured, tokens, keystone, image):
    spoofed = {
        "X-Identity-Status": "Confirmed",
        "X-Roles": "admin,member,reader",
        "X-Project-Id": keystone.projects["demo"],
        "X-Tenant-Id": keystone.projects["demo"],
        "X-User-Id": keystone.users["admin"],
        "X-Is-Admin-Project": "True",
        "X-Service-Roles": "service",
        "X_ROLES": "admin",
        "X_PROJECT_ID": keystone.projects["demo"],
    }
    assert secured.get("/v2/images", headers=spoofed).status_code == 401
    with_token = {**spoofed, **auth(tokens["alt-member"])}
    assert secured.get(f"/v2/images/{image}", headers=with_token).status_code == 404
    assert secured.get(f"/v2/images/{image}/file", headers=with_token).status_code == 404
    made = secured.request("POST", "/v2/images", json={}, headers=with_token).json()
    assert made["owner"] == keystone.projects["alt"]


def test_projects_do_not_see_each_other(secured, tokens, image):
    path = f"/v2/images/{image}"
    other = tokens["alt-member"]
    assert status(secured, other, "GET", path) == 404
    assert status(secured, other, "GET", f"{path}/file") == 404
    assert status(secured, other, "DELETE", path) == 404
    assert status(secured, other, "GET", f"{path}/members") == 404
    assert status(secured, other, "PUT", f"{path}/tags/x") == 404
    assert replace(secured, other, image, "name", "stolen") == 404
    listed = secured.get("/v2/images?limit=1000", headers=auth(other)).json()["images"]
    assert image not in [each["id"] for each in listed]
    assert status(secured, other, "GET", f"/v2/images?marker={image}") in (400, 403)


def test_a_reader_reads_metadata_only(secured, tokens, image):
    path = f"/v2/images/{image}"
    reader = tokens["demo-reader"]
    assert status(secured, reader, "GET", path) == 200
    assert status(secured, reader, "GET", "/v2/images") == 200
    assert status(secured, reader, "GET", f"{path}/file") == 403
    assert status(secured, reader, "POST", "/v2/images", json={}) == 403
    assert status(secured, reader, "DELETE", path) == 403
    assert status(secured, reader, "PUT", f"{path}/tags/x") == 403
    assert status(secured, reader, "POST", f"{path}/actions/deactivate") == 403
    assert status(secured, reader, "POST", f"{path}/members", json={"member": "p"}) == 403
    assert replace(secured, reader, image, "name", "changed") == 403
    queued = secured.create(tokens["demo-member"])["id"]
    octets = {"Content-Type": "application/octet-stream"}
    assert status(secured, reader, "PUT", f"/v2/images/{queued}/file", headers=octets, data=b"data") == 403


def test_a_member_may_not_publish_nor_own_for_others(secured, tokens, keystone, image):
    member = tokens["demo-member"]
    assert status(secured, member, "POST", "/v2/images", json={"visibility": "public"}) == 403
    assert status(secured, member, "POST", "/v2/images", json={"owner": keystone.projects["alt"]}) == 403
    assert replace(secured, member, image, "visibility", "public") == 403
    assert replace(secured, member, image, "owner", keystone.projects["alt"]) == 403
    assert replace(secured, member, image, "visibility", "community") == 200
    assert status(secured, tokens["alt-member"], "GET", f"/v2/images/{image}") == 200
    assert secured.get(f"/v2/images/{image}/file", headers=auth(tokens["alt-member"])).content == b"data of demo"
    assert replace(secured, tokens["alt-member"], image, "name", "stolen") == 403
    listed = secured.get("/v2/images?limit=1000", headers=auth(tokens["alt-member"])).json()["images"]
    assert image not in [each["id"] for each in listed]
    listed = secured.get("/v2/images?visibility=community&limit=1000", headers=auth(tokens["alt-member"])).json()
    assert image in [each["id"] for each in listed["images"]]


def test_an_administrator_does_everything(secured, tokens, keystone, image):
    admin = tokens["admin"]
    path = f"/v2/images/{image}"
    assert status(secured, admin, "GET", path) == 200
    assert secured.get(f"{path}/file", headers=auth(admin)).content == b"data of demo"
    assert replace(secured, admin, image, "visibility", "public") == 200
    assert status(secured, tokens["alt-member"], "GET", path) == 200
    assert status(secured, tokens["alt-member"], "DELETE", path) == 403
    listed = secured.get("/v2/images?limit=1000", headers=auth(tokens["alt-member"])).json()["images"]
    assert image in [each["id"] for each in listed]
    assert replace(secured, admin, image, "owner", keystone.projects["alt"]) == 200
    assert status(secured, admin, "DELETE", path) == 204


def test_an_image_is_shared_with_a_project(secured, tokens, keystone, image):
    owner, member, alt = tokens["demo-member"], tokens["alt-member"], keystone.projects["alt"]
    path = f"/v2/images/{image}"

    def listed(query: str = "") -> bool:
        found = secured.get(f"/v2/images?limit=1000{query}", headers=auth(member)).json()["images"]
        return image in [each["id"] for each in found]

    assert status(secured, owner, "POST", f"{path}/members", json={"member": alt}) == 200
    assert status(secured, member, "GET", path) == 200
    assert secured.get(f"{path}/file", headers=auth(member)).content == b"data of demo"
    assert not listed() and listed("&member_status=pending") and listed("&member_status=all")
    assert status(secured, owner, "PUT", f"{path}/members/{alt}", json={"status": "accepted"}) == 403
    assert status(secured, member, "PUT", f"{path}/members/{alt}", json={"status": "accepted"}) == 200
    assert listed() and listed("&visibility=shared")
    assert status(secured, member, "PUT", f"{path}/members/{alt}", json={"status": "rejected"}) == 200
    assert not listed() and listed("&member_status=rejected")
    # A member passes nothing on, and changes nothing.
    assert status(secured, member, "POST", f"{path}/members", json={"member": "third"}) == 403
    assert status(secured, member, "DELETE", f"{path}/members/{alt}") == 403
    assert status(secured, member, "DELETE", path) == 403
    assert replace(secured, member, image, "name", "stolen") == 403
    third = secured.request("POST", f"{path}/members", json={"member": "third"}, headers=auth(owner))
    assert third.status_code == 200
    seen = secured.get(f"{path}/members", headers=auth(member)).json()["members"]
    assert [each["member_id"] for each in seen] == [alt]
    assert status(secured, owner, "DELETE", f"{path}/members/{alt}") == 204
    assert status(secured, member, "GET", path) == 404


def test_a_deactivated_image_is_not_downloaded(secured, tokens, image):
    path = f"/v2/images/{image}"
    assert status(secured, tokens["demo-member"], "POST", f"{path}/actions/deactivate") == 204
    assert status(secured, tokens["demo-member"], "GET", f"{path}/file") == 403
    assert status(secured, tokens["demo-member"], "GET", path) == 200
    assert status(secured, tokens["admin"], "GET", f"{path}/file") == 200


def test_a_project_administrator_is_an_administrator(secured, tokens, image):
    assert replace(secured, tokens["demo-admin"], image, "visibility", "public") == 200


def test_a_token_ends(secured, keystone):
    token = keystone.short_token("demo-member")
    image = secured.create(token)["id"]
    secured.upload(image, b"data", token)
    assert secured.get(f"/v2/images/{image}/file", headers=auth(token)).content == b"data"
    time.sleep(SHORT_LIFE + 1)
    # It is remembered as good by then, and must not be taken for good.
    assert status(secured, token, "GET", "/v2/images") == 401
    assert status(secured, token, "GET", f"/v2/images/{image}/file") == 401


def test_a_revoked_token_is_no_token(secured, keystone):
    token = keystone.token("demo-member")
    keystone.revoke(token)
    assert status(secured, token, "GET", "/v2/images") == 401


def test_a_token_without_a_project_is_refused(secured, keystone):
    import requests

    user = {"name": "admin", "domain": {"id": "default"}, "password": "secret"}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": "unscoped"}}
    reply = requests.post(f"{keystone.url}/auth/tokens", json=body, timeout=30)
    assert reply.status_code == 201, reply.text
    assert status(secured, reply.headers["X-Subject-Token"], "GET", "/v2/images") in (401, 403)


def test_the_catalog_leads_to_the_server(secured, keystone):
    connection = keystone.connect("demo-member")
    assert connection.image.get_endpoint().startswith(secured.url)
    connection.close()
