"""Imports by the real clients: staged data, several stores, copies and the tasks that tell of them."""

import io
import json
import os
import time

import glanceclient
import openstack
import pytest
from glanceclient import exc
from keystoneauth1 import noauth, session

from conftest import KEYSTONE_CONFIG, Command, auth, digest, free_port, start_vitrine
from identity import PASSWORD


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A server with two stores, and the directory that holds theirs."""
    home = tmp_path_factory.mktemp("stores")
    config = f"""\
[DEFAULT]
enabled_backends = fast:file, slow:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {home}/fast
store_description = quick
weight = 10
[slow]
filesystem_store_datadir = {home}/slow
"""
    server = start_vitrine(home, config, free_port())
    yield server, home
    server.process.stop()
    assert "panicked" not in server.process.text(), server.process.text()


def library(url: str) -> glanceclient.Client:
    return glanceclient.Client("2", session=session.Session(auth=noauth.NoAuth(endpoint=url)))


def wait(glance, image: str):
    """The image, once it is no longer on its way."""
    for _ in range(300):
        shown = glance.images.get(image)
        if shown.status not in ("uploading", "importing") and "os_glance_import_task" not in shown:
            return shown
        time.sleep(0.1)
    raise AssertionError(f"{image} stays {shown.status}")


def command_id(output: bytes) -> str:
    """The id in a table of the `glance` command."""
    return next(line.split("|")[2].strip() for line in output.decode().splitlines() if line.startswith("| id "))


def test_the_library_stages_and_imports(stores):
    glance = library(stores[0].url)
    assert "glance-direct" in glance.images.get_import_info()["import-methods"]["value"]
    data = os.urandom(2_000_001)
    image = glance.images.create(name="staged", disk_format="raw", container_format="bare")
    glance.images.stage(image.id, io.BytesIO(data))
    assert glance.images.get(image.id).status == "uploading"
    glance.images.image_import(image.id, "glance-direct")
    shown = wait(glance, image.id)
    assert (shown.status, shown.checksum, shown.os_hash_value) == ("active", digest(data, "md5"), digest(data))
    assert b"".join(glance.images.data(image.id)) == data
    [task] = glance.images.get_associated_image_tasks(image.id)["tasks"]
    assert (task["status"], task["type"], task["image_id"]) == ("success", "api_image_import", image.id)
    assert glance.tasks.get(task["id"]).status == "success"
    assert task["id"] in [each.id for each in glance.tasks.list()]
    with pytest.raises(exc.HTTPConflict):
        glance.images.image_import(image.id, "glance-direct")
    glance.images.delete(image.id)


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


def test_the_openstack_command_imports(stores, tmp_path):
    server, home = stores
    command = Command("openstack", {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": server.url})
    data = os.urandom(700_001)
    source = tmp_path / "source"
    source.write_bytes(data)
    made = json.loads(command("image", "create", "--import", "--file", source, "--disk-format", "raw", "by-cli", "-f", "json"))
    shown = wait(library(server.url), made["id"])
    assert (shown.status, shown.checksum, shown.stores) == ("active", digest(data, "md5"), "fast")
    methods = command("image", "import", "info", "-f", "json").decode()
    assert "glance-direct" in methods and "copy-image" in methods
    command("image", "import", made["id"], "--method", "copy-image", "--store", "slow")
    assert wait(library(server.url), made["id"]).stores == "fast,slow"
    assert (home / "slow" / made["id"]).read_bytes() == data
    tasks = json.loads(command("image", "task", "list", "-f", "json"))
    assert len(tasks) >= 2
    command("image", "task", "show", tasks[0]["ID"])
    stored = json.loads(command("image", "stores", "list", "-f", "json")) if has_stores_list(command) else None
    assert stored is None or {store["ID"] for store in stored} == {"fast", "slow"}
    command("image", "delete", made["id"])


def has_stores_list(command: Command) -> bool:
    """Whether this release of the client lists stores."""
    return command.run("image", "stores", "list", "--help").returncode == 0


def test_the_glance_command_imports_into_all_stores(stores, keystone, tmp_path):
    server, home = stores
    # The command wants to log in somewhere, whatever the server asks for.
    command = Command("glance", {**keystone.client_environment("demo-member"), "OS_IMAGE_URL": server.url})
    data = os.urandom(900_001)
    source = tmp_path / "source"
    source.write_bytes(data)
    made = command("image-create-via-import", "--import-method", "glance-direct", "--file", source, "--disk-format", "raw",
                   "--container-format", "bare", "--name", "everywhere", "--all-stores", "True")
    image = command_id(made)
    shown = wait(library(server.url), image)
    assert (shown.status, shown.stores) == ("active", "fast,slow")
    for store in ("fast", "slow"):
        assert (home / store / image).read_bytes() == data
    assert "success" in command("image-tasks", image).decode()
    assert "quick" in command("stores-info").decode()
    command("image-delete", image)
    staged = command_id(command("image-create", "--disk-format", "raw", "--container-format", "bare"))
    command("image-stage", "--file", source, staged)
    command("image-import", "--import-method", "glance-direct", "--stores", "slow", staged)
    assert wait(library(server.url), staged).stores == "slow"
    command("image-delete", staged)


def test_the_commands_import_from_another_region(secured, keystone, tmp_path_factory, tmp_path):
    home = tmp_path_factory.mktemp("elsewhere")
    port = free_port()
    config = KEYSTONE_CONFIG.format(url=keystone.url, password=PASSWORD)
    config += f"""\
[DEFAULT]
enabled_import_methods = [glance-direct,glance-download]
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{secured.url.rpartition(":")[2]}]
"""
    server = start_vitrine(home, config, port)
    keystone.add_images("Elsewhere", server.url)
    settings = keystone.client_environment("demo-member")
    here, there = (Command("openstack", {**settings, "OS_REGION_NAME": region}) for region in ("RegionOne", "Elsewhere"))
    data = os.urandom(800_001)
    source = tmp_path / "source"
    source.write_bytes(data)
    made = json.loads(here("image", "create", "--file", source, "--disk-format", "raw", "--property", "hw_disk_bus=scsi",
                           "--property", "note=mine", "here", "-f", "json"))
    glance = Command("glance", {**settings, "OS_REGION_NAME": "Elsewhere"})
    copy = command_id(glance("image-create-via-import", "--import-method", "glance-download", "--remote-region", "RegionOne",
                             "--remote-image-id", made["id"], "--disk-format", "raw", "--container-format", "bare"))
    token = keystone.token("demo-member")
    shown = server.settled(copy, token)
    assert (shown["status"], shown["os_hash_value"], shown["hw_disk_bus"]) == ("active", digest(data), "scsi")
    assert "note" not in shown
    queued = server.create(token)
    # Of a server whose stores have no names the command asks too much, unless it is told.
    there("image", "import", "--disallow-failure", queued["id"], "--method", "glance-download", "--remote-region", "regionone", "--remote-image",
          made["id"], "--remote-service-interface", "internal")
    shown = server.settled(queued["id"], token)
    assert shown["checksum"] == digest(data, "md5")
    absent = server.create(token)
    there("image", "import", "--disallow-failure", absent["id"], "--method", "glance-download", "--remote-region", "RegionOne", "--remote-image", copy,
          "--remote-service-interface", "public")
    assert server.settled(absent["id"], token)["status"] == "queued"
    [task] = server.get(f"/v2/images/{absent['id']}/tasks", headers=auth(token)).json()["tasks"]
    assert (task["status"], task["message"]) == ("failure", "The image could not be found in the other region.")
    server.process.stop()
    text = server.process.text()
    assert "panicked" not in text and token not in text, text
