"""Imports by the real clients, as members of a project: every method by every command that imports, into several stores, with copies and the
tasks that tell of them."""

import io
import json
import os
import pathlib

import glanceclient
import openstack
import pytest
from glanceclient import exc

from conftest import DATA, STORES_REGION, auth, digest, made, stored

METHODS = ("glance-direct", "web-download", "copy-image", "glance-download")
BARE = ("--disk-format", "raw", "--container-format", "bare")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> pathlib.Path:
    """A file with the data of all images."""
    path = tmp_path_factory.mktemp("source") / "image"
    path.write_bytes(DATA)
    return path


@pytest.fixture(scope="module")
def remote(secured, keystone) -> str:
    """The image of another region; its id."""
    token = keystone.token("demo-member")
    image = secured.create(token, name="there", hw_disk_bus="scsi", note="mine")["id"]
    secured.upload(image, DATA, token)
    return image


@pytest.fixture
def data_of(origin, remote):
    """What each of the commands is told about where the data is."""
    return {
        "glance": {
            "web-download": ("--uri", f"{origin}/image"),
            "glance-download": ("--remote-region", "RegionOne", "--remote-image-id", remote),
        },
        "openstack": {
            "web-download": ("--uri", f"{origin}/image"),
            "glance-download": ("--remote-region", "RegionOne", "--remote-image", remote, "--remote-service-interface", "public"),
        },
    }


def by_openstack(command, method: str, source: pathlib.Path, data: tuple) -> str:
    """The id of an image that is imported by `openstack image import`."""
    create = ("image", "create", "--disk-format", "raw", "--container-format", "bare", "-f", "json", "by-import")
    if method == "copy-image":
        create += ("--file", source)
    image = json.loads(command(*create))["id"]
    if method == "glance-direct":
        command("image", "stage", "--file", source, image)
    command("image", "import", image, "--method", method, *data, "--store", "slow")
    return image


def by_glance(command, method: str, source: pathlib.Path, data: tuple) -> str:
    """The id of an image that is imported by `glance image-import`."""
    image = made(command("image-create", *BARE, *(("--file", source) if method == "copy-image" else ())))
    if method == "glance-direct":
        command("image-stage", "--file", source, image)
    command("image-import", "--import-method", method, *data, "--stores", "slow", image)
    return image


def by_glance_at_once(command, method: str, source: pathlib.Path, data: tuple) -> str:
    """The id of an image that `glance image-create-via-import` makes."""
    data = ("--file", source) if method == "glance-direct" else data
    return made(command("image-create-via-import", "--import-method", method, *data, *BARE, "--stores", "slow"))


WAYS = {by_openstack: "openstack", by_glance: "glance", by_glance_at_once: "glance"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_each_method_by_each_command(ask_stores, stores, keystone, data_of, source, way, method):
    # Copies are an administrator's.
    user = "demo-admin" if method == "copy-image" else "demo-member"
    command, data = ask_stores(WAYS[way], user), data_of[WAYS[way]].get(method, ())
    if (way, method) == (by_glance_at_once, "copy-image"):
        # A copy is of what is there: the command itself refuses.
        assert "copy-image" in command.fails("image-create-via-import", "--import-method", method, *BARE, "--stores", "slow")
        return
    image, token = way(command, method, source, data), keystone.token(user)
    shown = stores.settled(image, token)
    assert (shown["status"], shown["checksum"], shown["os_hash_value"]) == ("active", digest(DATA, "md5"), digest(DATA))
    assert shown["stores"] == ("fast,slow" if method == "copy-image" else "slow")
    assert stored(stores, "slow", image) == DATA
    [task] = stores.get(f"/v2/images/{image}/tasks", headers=auth(token)).json()["tasks"]
    assert (task["status"], task["input"]["import_req"]["method"]["name"]) == ("success", method)
    assert stores.get(f"/v2/images/{image}/file", headers=auth(token)).content == DATA
    assert stores.request("DELETE", f"/v2/images/{image}", headers=auth(token)).status_code == 204


def test_a_member_copies_nothing(ask_stores, stores, keystone, source):
    mine, token = ask_stores("openstack"), keystone.token("demo-member")
    image = json.loads(mine("image", "create", "--file", source, "--disk-format", "raw", "kept", "-f", "json"))["id"]
    # This command does not look at the answer.
    mine("image", "import", image, "--method", "copy-image", "--store", "slow")
    assert "403" in ask_stores("glance").fails("image-import", "--import-method", "copy-image", "--stores", "slow", image)
    assert stores.settled(image, token)["stores"] == "fast"
    assert stores.get(f"/v2/images/{image}/tasks", headers=auth(token)).json()["tasks"] == []
    mine("image", "delete", image)


def test_the_library_stages_and_imports(stores, keystone):
    glance = glanceclient.Client("2", session=keystone.session("demo-member"), region_name=STORES_REGION)
    assert set(METHODS) == set(glance.images.get_import_info()["import-methods"]["value"])
    data = os.urandom(2_000_001)
    image = glance.images.create(name="staged", disk_format="raw", container_format="bare")
    glance.images.stage(image.id, io.BytesIO(data))
    assert glance.images.get(image.id).status == "uploading"
    glance.images.image_import(image.id, "glance-direct")
    shown = stores.settled(image.id, keystone.token("demo-member"))
    assert (shown["status"], shown["checksum"], shown["os_hash_value"]) == ("active", digest(data, "md5"), digest(data))
    assert b"".join(glance.images.data(image.id)) == data
    [task] = glance.images.get_associated_image_tasks(image.id)["tasks"]
    assert (task["status"], task["type"], task["image_id"]) == ("success", "api_image_import", image.id)
    with pytest.raises(exc.HTTPConflict):
        glance.images.image_import(image.id, "glance-direct")
    glance.images.delete(image.id)
    # Tasks are an administrator's.
    administrator = glanceclient.Client("2", session=keystone.session("admin"), region_name=STORES_REGION)
    assert administrator.tasks.get(task["id"]).status == "success"
    assert task["id"] in [each.id for each in administrator.tasks.list()]


def test_the_sdk_makes_an_image_by_import(vitrine, tmp_path):
    data = os.urandom(1_000_003)
    source = tmp_path / "source"
    source.write_bytes(data)
    connection = openstack.connect(auth_type="none", endpoint=vitrine.url, load_yaml_config=False)
    image = connection.image.create_image(
        "by import", filename=str(source), disk_format="raw", container_format="bare", use_import=True
    )
    shown = connection.image.wait_for_status(image, status="active", interval=0.2, wait=60)
    assert (shown.status, shown.hash_value) == ("active", digest(data))
    assert [task.status for task in connection.image.image_tasks(shown)] == ["success"]
    connection.image.delete_image(image.id)
    connection.close()


def test_the_openstack_command_makes_an_image_by_import_and_tells_of_it(ask_stores, stores, keystone, source):
    mine, administrator = ask_stores("openstack"), ask_stores("openstack", "admin")
    image = json.loads(mine("image", "create", "--import", "--file", source, "--disk-format", "raw", "by-cli", "-f", "json"))["id"]
    shown = stores.settled(image, keystone.token("demo-member"))
    assert (shown["status"], shown["checksum"], shown["stores"]) == ("active", digest(DATA, "md5"), "fast")
    methods = mine("image", "import", "info", "-f", "json").decode()
    assert all(method in methods for method in METHODS)
    tasks = json.loads(administrator("image", "task", "list", "-f", "json"))
    assert len(tasks) >= 1
    administrator("image", "task", "show", tasks[0]["ID"])
    mine("image", "delete", image)


def test_the_commands_import_into_all_stores(ask_stores, stores, keystone, source):
    glance, administrator, token = ask_stores("glance"), ask_stores("openstack", "demo-admin"), keystone.token("demo-member")
    image = made(glance("image-create-via-import", "--import-method", "glance-direct", "--file", source, *BARE, "--all-stores", "True"))
    shown = stores.settled(image, token)
    assert (shown["status"], shown["stores"]) == ("active", "fast,slow")
    assert "success" in glance("image-tasks", image).decode()
    assert "quick" in glance("stores-info").decode()
    glance("image-delete", image)
    image = json.loads(administrator("image", "create", "--file", source, "--disk-format", "raw", "few", "-f", "json"))["id"]
    administrator("image", "import", image, "--method", "copy-image", "--all-stores", "--wait")
    assert stores.settled(image, token)["stores"] == "fast,slow"
    assert all(stored(stores, store, image) == DATA for store in ("fast", "slow"))
    administrator("image", "delete", image)


def test_what_comes_from_another_region(ask_stores, stores, keystone, remote):
    """Properties of those that may come, and a failure that is told; the user's token is written nowhere."""
    glance, there, token = ask_stores("glance"), ask_stores("openstack"), keystone.token("demo-member")
    copy = made(glance("image-create-via-import", "--import-method", "glance-download", "--remote-region", "RegionOne",
                       "--remote-image-id", remote, *BARE))
    shown = stores.settled(copy, token)
    assert (shown["status"], shown["os_hash_value"], shown["hw_disk_bus"]) == ("active", digest(DATA), "scsi")
    assert "note" not in shown
    # By another interface, and the region in another spelling.
    queued = stores.create(token)["id"]
    there("image", "import", queued, "--method", "glance-download", "--remote-region", "regionone", "--remote-image", remote,
          "--remote-service-interface", "internal")
    assert stores.settled(queued, token)["checksum"] == digest(DATA, "md5")
    absent = stores.create(token)["id"]
    there("image", "import", absent, "--method", "glance-download", "--remote-region", "RegionOne", "--remote-image", copy,
          "--remote-service-interface", "public")
    assert stores.settled(absent, token)["status"] == "queued"
    [task] = stores.get(f"/v2/images/{absent}/tasks", headers=auth(token)).json()["tasks"]
    assert (task["status"], task["message"]) == ("failure", "The image could not be found in the other region.")
    assert token not in stores.process.text()
    for image in (copy, queued, absent):
        glance("image-delete", image)
