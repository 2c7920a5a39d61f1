"""Import plug-ins by the real client: a packed image of one format becomes one of another, with properties."""

import gzip
import os
import subprocess

import pytest

from conftest import Command, digest, free_port, start_vitrine
from test_imports import command_id, library, wait

# The client asks for tasks of images only where stores have names.
CONFIG = """\
[DEFAULT]
enabled_backends = fast:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {home}/fast
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
    server = start_vitrine(home, CONFIG.format(home=home), free_port())
    yield server
    server.process.stop()
    assert "panicked" not in server.process.text(), server.process.text()


@pytest.fixture
def glance(server, keystone) -> Command:
    # The command wants to log in somewhere, whatever the server asks for.
    return Command("glance", {**keystone.client_environment("demo-member"), "OS_IMAGE_URL": server.url})


def via_import(glance: Command, source, disk_format: str) -> str:
    """The id of an image whose import is asked for."""
    made = glance("image-create-via-import", "--import-method", "glance-direct", "--file", source, "--disk-format", disk_format,
                  "--container-format", "bare", "--name", "packed")
    return command_id(made)


def test_a_packed_qcow2_becomes_raw(server, glance, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(os.urandom(2 << 20) + bytes(3 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, tmp_path / "disk.qcow2"], check=True)
    packed = tmp_path / "disk.qcow2.gz"
    packed.write_bytes(gzip.compress((tmp_path / "disk.qcow2").read_bytes()))
    image = via_import(glance, packed, "qcow2")
    shown = wait(library(server.url), image)
    data = disk.read_bytes()
    assert (shown.status, shown.disk_format, shown.size, shown.virtual_size) == ("active", "raw", len(data), len(data))
    assert (shown.os_hash_value, shown.hw_disk_bus) == (digest(data), "scsi")
    got = tmp_path / "got"
    glance("image-download", "--file", got, image)
    assert got.read_bytes() == data
    glance("image-delete", image)


def test_what_is_refused_is_said_in_the_task(server, glance, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(gzip.compress(os.urandom(300_000))[:-1000])
    image = via_import(glance, source, "raw")
    images = library(server.url)
    shown = wait(images, image)
    assert (shown.status, shown.size) == ("queued", None)
    [task] = images.images.get_associated_image_tasks(image)["tasks"]
    assert task["status"] == "failure" and "cannot be unpacked as gzip" in task["message"]
    glance("image-delete", image)
