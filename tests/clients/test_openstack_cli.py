"""python-openstackclient: every image command, without authentication and as users of the Identity server."""

import json
import os
import subprocess

import pytest

from conftest import Command, digest


@pytest.fixture(params=["none", "keystone"])
def openstack(request, vitrine):
    """The `openstack` command: against the server without authentication, or as a project's member."""
    if request.param == "none":
        return Command("openstack", {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": vitrine.url})
    keystone = request.getfixturevalue("keystone")
    request.getfixturevalue("secured")
    return Command("openstack", keystone.client_environment("demo-member"))


def parsed(output: bytes):
    return json.loads(output)


def test_an_image_goes_in_and_comes_out(openstack, tmp_path):
    data = os.urandom(3_000_001)
    source, target = tmp_path / "in.raw", tmp_path / "out.raw"
    source.write_bytes(data)
    name = f"image-{os.urandom(4).hex()}"
    created = parsed(
        openstack("image", "create", "--file", source, "--disk-format", "raw", "--property", "os_distro=debian", "--tag",
                  "one", "--min-disk", "1", "--min-ram", "64", "--private", name, "-f", "json")
    )
    image = created["id"]
    shown = parsed(openstack("image", "show", name, "-f", "json"))
    assert shown["status"] == "active"
    assert shown["size"] == len(data)
    assert shown["checksum"] == digest(data, "md5")
    assert shown["visibility"] == "private"
    assert (shown["min_disk"], shown["min_ram"], shown["tags"]) == (1, 64, ["one"])
    assert shown["properties"]["os_hash_value"] == digest(data)
    assert shown["properties"]["os_distro"] == "debian"
    openstack("image", "save", "--file", target, image)
    assert target.read_bytes() == data
    listed = parsed(openstack("image", "list", "--name", name, "--long", "-f", "json"))
    assert [row["ID"] for row in listed] == [image]
    assert listed[0]["Checksum"] == digest(data, "md5")
    openstack("image", "delete", name)
    assert "No Image found" in openstack.fails("image", "show", image)


def test_an_upload_from_standard_input_is_chunked(openstack, tmp_path):
    data = os.urandom(2_500_000)
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(data)
    command = [openstack.path, "image", "create", "--disk-format", "raw", "from-stdin", "-f", "json"]
    with source.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, env=openstack.environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    image = parsed(done.stdout)["id"]
    openstack("image", "save", "--file", target, image)
    assert target.read_bytes() == data
    openstack("image", "delete", image)


def test_fields_are_set_and_unset(openstack):
    image = parsed(openstack("image", "create", "--disk-format", "raw", "before", "-f", "json"))["id"]
    openstack("image", "set", image, "--name", "after", "--property", "a=1", "--property", "b=2", "--tag", "x", "--tag",
              "y", "--min-ram", "7", "--protected", "--hidden", "--disk-format", "qcow2", "--community")
    shown = parsed(openstack("image", "show", image, "-f", "json"))
    assert shown["name"] == "after" and shown["min_ram"] == 7 and shown["protected"] is True
    assert shown["disk_format"] == "qcow2" and shown["visibility"] == "community"
    assert shown["properties"]["os_hidden"] is True
    assert (shown["properties"]["a"], shown["properties"]["b"]) == ("1", "2")
    assert sorted(shown["tags"]) == ["x", "y"]
    openstack.fails("image", "delete", image)
    openstack("image", "unset", image, "--property", "a", "--tag", "x")
    openstack("image", "set", image, "--unprotected", "--unhidden")
    shown = parsed(openstack("image", "show", image, "-f", "json"))
    assert "a" not in shown["properties"] and shown["tags"] == ["y"]
    openstack("image", "delete", image)


def test_an_image_is_shared(secured, keystone):
    # The command looks the project up in the Identity server, and has no other way.
    openstack = Command("openstack", keystone.client_environment("demo-member"))
    other = Command("openstack", keystone.client_environment("alt-member"))
    project = keystone.projects["alt"]
    image = parsed(openstack("image", "create", "--disk-format", "raw", "--shared", "shared", "-f", "json"))["id"]
    openstack("image", "add", "project", image, project)
    members = parsed(openstack("image", "member", "list", image, "-f", "json"))
    assert [(row["Member ID"], row["Status"]) for row in members] == [(project, "pending")]
    assert image not in other("image", "list").decode()
    other("image", "set", "--accept", image)
    assert image in other("image", "list", "--shared").decode()
    other("image", "set", "--reject", image)
    assert image not in other("image", "list", "--shared").decode()
    other.fails("image", "set", "--name", "stolen", image)
    other.fails("image", "delete", image)
    openstack("image", "remove", "project", image, project)
    assert parsed(openstack("image", "member", "list", image, "-f", "json")) == []
    openstack("image", "delete", image)


def test_an_image_is_deactivated(openstack, tmp_path):
    source = tmp_path / "data"
    source.write_bytes(b"data")
    image = parsed(openstack("image", "create", "--file", source, "--disk-format", "raw", "off", "-f", "json"))["id"]
    openstack("image", "set", "--deactivate", image)
    assert parsed(openstack("image", "show", image, "-f", "json"))["status"] == "deactivated"
    openstack("image", "set", "--activate", image)
    assert parsed(openstack("image", "show", image, "-f", "json"))["status"] == "active"
    openstack("image", "delete", image)


def test_lists_are_filtered_and_paged(openstack):
    tag = os.urandom(6).hex()
    names = [f"{tag}-{number}" for number in range(4)]
    for name in names:
        openstack("image", "create", "--disk-format", "raw", "--tag", tag, name)
    listed = parsed(openstack("image", "list", "--tag", tag, "--sort", "name:asc", "-f", "json"))
    assert [row["Name"] for row in listed] == names
    # The command sorts what it got: which ones a page has is for the other clients to check.
    assert len(parsed(openstack("image", "list", "--tag", tag, "--limit", "2", "-f", "json"))) == 2
    rest = parsed(openstack("image", "list", "--tag", tag, "--marker", names[1], "-f", "json"))
    assert names[1] not in [row["Name"] for row in rest] and len(rest) < 4
    queued = parsed(openstack("image", "list", "--tag", tag, "--status", "queued", "-f", "json"))
    assert len(queued) == 4
    assert parsed(openstack("image", "list", "--tag", tag, "--status", "active", "-f", "json")) == []
    openstack("image", "delete", *names)


def test_import_methods_are_told(openstack):
    openstack("image", "import", "info")
