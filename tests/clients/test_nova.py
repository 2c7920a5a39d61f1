"""Nova's image client (nova.image.glance), as the compute service uses it."""

import json
import os
import pathlib
import subprocess

from conftest import digest, is_foreign, setting


def drive(server, keystone, *arguments) -> dict:
    """What nova_client.py saw."""
    script = pathlib.Path(__file__).with_name("nova_client.py")
    token = keystone.token("demo-member")
    who = [token, keystone.users["demo-member"], keystone.projects["demo"]]
    command = [setting("VITRINE_TEST_NOVA") / "bin/python", script, server.url, *who, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=300)
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
