"""Import plug-ins by the real client: a packed image of one format becomes one of another, with properties."""

import gzip
import os
import subprocess

import pytest

from conftest import Command, digest, made, running, stores_config

CONFIG = """\
[image_import_opts]
image_import_plugins = [image_decompression, image_conversion, inject_image_metadata]
[image_conversion]
output_format = raw
[inject_metadata_properties]
inject = hw_disk_bus:scsi
ignore_user_roles = nobody
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("plugins")
    # The client asks for tasks of images only where stores have names.
    with running(home, stores_config(home, {"fast": "file"}) + CONFIG) as server:
        yield server


@pytest.fixture
def glance(server, keystone) -> Command:
    # The command wants to log in somewhere, whatever the server asks for.
    return Command("glance", {**keystone.client_environment("demo-member"), "OS_IMAGE_URL": server.url})


def via_import(glance: Command, source, disk_format: str) -> str:
    """The id of an image whose import is asked for."""
    return made(glance("image-create-via-import", "--import-method", "glance-direct", "--file", source, "--disk-format", disk_format,
                       "--container-format", "bare", "--name", "packed"))


def test_a_packed_qcow2_becomes_raw(server, glance, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(os.urandom(2 << 20) + bytes(3 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, tmp_path / "disk.qcow2"], check=True)
    packed = tmp_path / "disk.qcow2.gz"
    packed.write_bytes(gzip.compress((tmp_path / "disk.qcow2").read_bytes()))
    image = via_import(glance, packed, "qcow2")
    shown = server.settled(image)
    data = disk.read_bytes()
    assert (shown["status"], shown["disk_format"]) == ("active", "raw")
    assert (shown["size"], shown["virtual_size"]) == (len(data), len(data))
    assert (shown["os_hash_value"], shown["hw_disk_bus"]) == (digest(data), "scsi")
    got = tmp_path / "got"
    glance("image-download", "--file", got, image)
    assert got.read_bytes() == data
    glance("image-delete", image)


def test_what_is_refused_is_said_in_the_task(server, glance, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(gzip.compress(os.urandom(300_000))[:-1000])
    image = via_import(glance, source, "raw")
    shown = server.settled(image)
    assert (shown["status"], shown["size"]) == ("queued", None)
    [task] = server.get(f"/v2/images/{image}/tasks").json()["tasks"]
    assert task["status"] == "failure" and "cannot be unpacked as gzip" in task["message"]
    glance("image-delete", image)
