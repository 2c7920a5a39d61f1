"""The cache's commands of the real clients: on a site whose configuration has a cache, and on one that has none."""

import pytest

from conftest import Command, running


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server whose configuration asks for a cache, with an image."""
    home = tmp_path_factory.mktemp("cached")
    with running(home, f"[DEFAULT]\nimage_cache_dir = {home}/cache\n") as server:
        image = server.create(name="near")["id"]
        server.upload(image, b"x" * 1000)
        yield server, image
    assert "nothing is cached" in server.process.text(), "the operator is not told"


def glance_at(url: str, keystone) -> Command:
    # The command wants to log in somewhere, whatever the server asks for.
    return Command("glance", {**keystone.client_environment("demo-member"), "OS_IMAGE_URL": url})


def openstack_at(url: str) -> Command:
    return Command("openstack", {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": url})


def test_glance_finds_an_empty_cache(site, keystone):
    server, image = site
    glance = glance_at(server.url, keystone)
    for arguments in (["cache-queue", image], ["cache-delete", image], ["cache-clear"], ["cache-clear", "--target", "queue"]):
        done = glance.run(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), (arguments, done)
    assert b"0 file(s), 0 byte(s)" in glance("cache-prune")
    assert glance.run("cache-clean").stderr == b""
    listed = glance("cache-list").decode()
    assert image not in listed, listed
    assert image not in glance("cache-nodes-list", image).decode()


def test_openstack_finds_an_empty_cache(site):
    server, image = site
    openstack = openstack_at(server.url)
    openstack("cached", "image", "queue", image)
    assert openstack("cached", "image", "list", "-f", "value").strip() == b""
    openstack("cached", "image", "delete", image)
    openstack("cached", "image", "clear", "--cache")


def test_where_there_is_no_cache_clients_say_so(vitrine, keystone):
    # It looks for a version with a cache first.
    assert "does not support image caching" in glance_at(vitrine.url, keystone).fails("cache-list")
    assert "not supported at this site" in openstack_at(vitrine.url).fails("cached", "image", "list")
