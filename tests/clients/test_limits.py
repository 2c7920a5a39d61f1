"""Unified limits of a real Identity server, set with the command line that operators have."""

import concurrent.futures

import pytest

from conftest import KEYSTONE_CONFIG, OCTETS, Command, auth, running
from identity import PASSWORD, REGION

MIB = 1 << 20

LIMITS_CONFIG = """\
[DEFAULT]
use_keystone_limits = True
[control]
keystone_limits_cache_seconds = 0
[oslo_limit]
auth_url = {url}
auth_type = password
username = glance
password = {password}
user_domain_id = default
system_scope = all
endpoint_id = {endpoint}
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory, keystone):
    """Our server, with quotas from the Identity server, which has none to begin with."""
    query = f"service_id={keystone.image_service}&interface=public&region_id={REGION}"
    endpoint = keystone.call("GET", f"/endpoints?{query}")["endpoints"][0]["id"]
    known = {"url": keystone.url, "password": PASSWORD, "endpoint": endpoint}
    config = (KEYSTONE_CONFIG + LIMITS_CONFIG).format(**known)
    keystone.set_limits({})
    with running(tmp_path_factory.mktemp("limited"), config) as server:
        yield server
    keystone.set_limits({})
    assert PASSWORD not in server.process.text(), "the service's password is in the log"


@pytest.fixture(scope="module")
def openstack(keystone) -> Command:
    """The command line of an administrator."""
    return Command("openstack", keystone.client_environment("admin"))


def usage(server, token: str) -> dict:
    reply = server.get("/v2/info/usage", headers=auth(token))
    assert reply.status_code == 200, reply.text
    return reply.json()["usage"]


def upload(server, image: str, size: int, token: str):
    headers = {**OCTETS, **auth(token)}
    return server.request("PUT", f"/v2/images/{image}/file", data=b"x" * size, headers=headers)


def test_what_is_not_registered_is_not_allowed(limited, keystone):
    token = keystone.token("demo-member")
    assert set(map(tuple, map(dict.values, usage(limited, token).values()))) == {(0, 0)}
    reply = limited.request("POST", "/v2/images", json={}, headers=auth(token))
    assert reply.status_code == 413, reply.text
    assert "image_count_total is over limit of 0 due to current usage 0 and delta 1" in reply.text


def test_limits_are_registered_and_given_to_projects(limited, keystone, openstack):
    where = ("--service", "glance", "--region", REGION)
    for name, limit in [("image_size_total", 1), ("image_stage_total", 0), ("image_count_total", 50)]:
        openstack("registered", "limit", "create", *where, "--default-limit", limit, name)
    openstack("registered", "limit", "create", *where, "--default-limit", 40, "image_count_uploading")
    openstack("limit", "create", *where, "--project", "demo", "--resource-limit", 3, "image_size_total")
    demo, alt = keystone.token("demo-member"), keystone.token("alt-member")
    assert usage(limited, demo)["image_size_total"] == {"usage": 0, "limit": 3}
    assert usage(limited, alt)["image_size_total"] == {"usage": 0, "limit": 1}

    of_alt = limited.create(alt)["id"]
    reply = upload(limited, of_alt, 2 * MIB, alt)
    assert reply.status_code == 413 and "over limit of 1 due to current usage 0 and delta 2" in reply.text, reply.text
    assert limited.show(of_alt, alt)["status"] == "queued"
    headers = {**OCTETS, **auth(alt)}
    reply = limited.request("PUT", f"/v2/images/{of_alt}/stage", data=b"x" * MIB, headers=headers)
    assert reply.status_code == 413 and "image_stage_total" in reply.text, reply.text

    # Of many at a time, three fit.
    images = [limited.create(demo)["id"] for _ in range(32)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        statuses = sorted(pool.map(lambda image: upload(limited, image, MIB, demo).status_code, images))
    assert statuses == [204] * 3 + [413] * 29
    assert usage(limited, demo)["image_size_total"] == {"usage": 3, "limit": 3}
    assert usage(limited, demo)["image_count_total"] == {"usage": 32, "limit": 50}


def test_changes_of_limits_count(limited, keystone, openstack):
    token = keystone.token("demo-member")
    found = keystone.call("GET", f"/limits?service_id={keystone.image_service}")["limits"]
    openstack("limit", "set", "--resource-limit", -1, found[0]["id"])
    image = limited.create(token)["id"]
    assert upload(limited, image, 5 * MIB, token).status_code == 204
    assert usage(limited, token)["image_size_total"] == {"usage": 8, "limit": -1}
