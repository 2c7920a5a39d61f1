"""Nova's image client (nova.image.glance), as the compute service uses it."""

import json
import os
import pathlib
import subprocess
import time

import pytest

from conftest import auth, digest, free_port, is_foreign, keystone_config, running, setting, stores_config
from identity import PASSWORD, USERS


def drive(server, keystone, *arguments, user: str = "demo-member", config: pathlib.Path | None = None) -> dict:
    """What nova_client.py saw."""
    script = pathlib.Path(__file__).with_name("nova_client.py")
    who = [keystone.token(user), keystone.users[user], keystone.projects[USERS[user][0]]]
    command = [setting("VITRINE_TEST_NOVA") / "bin/python", script, server.url, *who, *arguments]
    environment = os.environ | ({"NOVA_CONFIG": str(config)} if config else {})
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_life_of_an_image(secured, keystone, tmp_path):
    data = os.urandom(5_000_001)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    seen = drive(secured, keystone, source, target)
    image = seen["created"]["id"]
    shown = seen["shown"]
    assert (shown["status"], shown["size"], shown["checksum"]) == ("active", len(data), digest(data, "md5"))
    assert shown["properties"]["hw_disk_bus"] == "virtio"
    assert shown["owner"] == keystone.projects["demo"]
    assert image in seen["listed"]
    assert seen["updated"]["name"] == "renamed" and seen["updated"]["properties"]["a"] == "b"
    assert target.read_bytes() == data
    assert seen["streamed"] == len(data)
    assert (seen["empty"]["status"], seen["empty"]["size"]) == ("active", 0)
    assert seen["gone"] == "ImageNotFound"


def test_damaged_bytes_are_noticed(secured, keystone, tmp_path):
    """The download verifies the digest that we gave: shown by damaging the stored bytes."""
    token = keystone.token("demo-member")
    image = secured.create(token, name="damaged")["id"]
    secured.upload(image, os.urandom(1_000_000), token)
    assert drive(secured, keystone, image, tmp_path / "whole", "--download")["error"] is None
    if is_foreign():
        return
    with secured.stored_file(image).open("r+b") as stored:
        stored.seek(500_000)
        byte = stored.read(1)
        stored.seek(500_000)
        stored.write(bytes([byte[0] ^ 1]))
    error = drive(secured, keystone, image, tmp_path / "damaged", "--download")["error"]
    assert error and "does not match" in error or "Corrupt" in error, error


@pytest.fixture(scope="module")
def ceph(tmp_path_factory):
    """A Ceph cluster; its ceph.conf."""
    home = tmp_path_factory.mktemp("ceph") / "cluster"
    script = pathlib.Path(__file__).parents[1] / "stores/ceph"
    process = subprocess.Popen([script, home, str(free_port())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield home / "ceph.conf"
    process.stdin.close()
    process.wait(60)


@pytest.fixture(scope="module")
def stores(tmp_path_factory, keystone, ceph):
    """Our server behind the Identity server, with a store of files and one in Ceph."""
    home = tmp_path_factory.mktemp("nova")
    config = keystone_config(keystone) + stores_config(home, {"fast": "file", "ceph": "rbd"})
    config += f"[ceph]\nrbd_store_ceph_conf = {ceph}\nrbd_store_user = glance\nrbd_store_pool = images-0\n"
    with running(home, config) as server:
        yield server


def test_an_image_is_copied_to_where_compute_clones_it(stores, keystone):
    """As libvirt's rbd back end has it done (`[glance] enable_rbd_download`, `[libvirt] images_rbd_glance_copy_timeout`)."""
    token = keystone.token("demo-member")
    data = os.urandom(3_000_001)
    image = stores.create(token, name="to copy", visibility="shared")["id"]
    stores.upload(image, data, token)
    assert "ImageNotAuthorized" in drive(stores, keystone, image, "ceph", "--copy")["error"]
    assert drive(stores, keystone, image, "ceph", "--copy", user="glance")["error"] is None
    shown = stores.settled(image, token)
    assert set(shown["stores"].split(",")) == {"fast", "ceph"}, shown
    reply = stores.get(f"/v2/images/{image}/file?prefer=ceph", headers=auth(token))
    assert reply.content == data
    assert "ImageBadRequest" in drive(stores, keystone, image, "ceph", "--copy", user="glance")["error"]
    assert stores.request("DELETE", f"/v2/images/{image}", headers=auth(token)).status_code == 204


def test_a_snapshot_inside_of_ceph_becomes_an_image(stores, keystone, ceph, tmp_path):
    """As libvirt's rbd back end makes it: the data is in the pool already, and only its place is told."""
    token = keystone.token("demo-member")
    data = os.urandom(5_000_001)
    source = tmp_path / "source"
    source.write_bytes(data)
    image = stores.create(token, name="snapshot")["id"]

    def rbd(*arguments) -> str:
        return subprocess.run(["rbd", "-c", ceph, *arguments], check=True, capture_output=True, text=True).stdout

    rbd("import", "--no-progress", source, f"images-0/{image}")
    rbd("snap", "create", f"images-0/{image}@snap")
    rbd("snap", "protect", f"images-0/{image}@snap")
    fsid = subprocess.run(["ceph", "-c", ceph, "fsid"], check=True, capture_output=True, text=True).stdout.strip()
    url = f"rbd://{fsid}/images-0/{image}/snap"
    # A user alone may not point into the pool; a compute service that vouches for the user may.
    assert "ImageNotAuthorized" in drive(stores, keystone, image, url, "--snapshot")["error"]
    config = tmp_path / "nova.conf"
    config.write_text(
        f"[service_user]\nsend_service_user_token = True\nauth_type = password\nauth_url = {keystone.url}\nusername = glance\npassword = {PASSWORD}\n"
        "user_domain_id = default\nproject_name = service\nproject_domain_id = default\n"
    )
    assert drive(stores, keystone, image, url, "--snapshot", config=config)["error"] is None
    shown = stores.settled(image, token)
    assert (shown["status"], shown["stores"], shown["size"]) == ("active", "ceph", len(data)), shown
    assert shown["os_hash_value"] == digest(data)
    assert drive(stores, keystone, image, tmp_path / "target", "--download")["error"] is None
    assert (tmp_path / "target").read_bytes() == data
    assert stores.request("DELETE", f"/v2/images/{image}", headers=auth(token)).status_code == 204
    for _ in range(100):
        if image not in rbd("ls", "images-0"):
            break
        time.sleep(0.1)
    assert image not in rbd("ls", "images-0")
