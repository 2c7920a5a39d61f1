"""python-glanceclient: its library and its command, without authentication and as a project's member."""

import io
import json
import os

import glanceclient
import pytest
from glanceclient import exc
from keystoneauth1 import noauth, session

from conftest import Command, digest
from identity import REGION


@pytest.fixture(params=["none", "keystone"])
def glance(request, vitrine):
    """The library's client."""
    if request.param == "none":
        return glanceclient.Client("2", session=session.Session(auth=noauth.NoAuth(endpoint=vitrine.url)))
    request.getfixturevalue("secured")
    return glanceclient.Client("2", session=request.getfixturevalue("keystone").session("demo-member"), region_name=REGION)


def test_an_image_goes_in_and_comes_out(glance):
    data = os.urandom(3_000_001)
    image = glance.images.create(name="library", disk_format="raw", container_format="bare", own="1", tags=["a"])
    glance.images.upload(image.id, io.BytesIO(data))
    shown = glance.images.get(image.id)
    assert (shown.status, shown.size, shown.checksum) == ("active", len(data), digest(data, "md5"))
    assert (shown.os_hash_algo, shown.os_hash_value) == ("sha512", digest(data))
    # The client verifies the digest while it reads.
    assert b"".join(glance.images.data(image.id)) == data
    glance.images.delete(image.id)
    with pytest.raises(exc.HTTPNotFound):
        glance.images.get(image.id)


def test_uploads_of_a_known_size(glance):
    data = os.urandom(100_000)
    image = glance.images.create(disk_format="raw", container_format="bare")
    glance.images.upload(image.id, io.BytesIO(data), image_size=len(data))
    assert glance.images.get(image.id).size == len(data)
    other = glance.images.create(disk_format="raw", container_format="bare")
    with pytest.raises(exc.HTTPBadRequest):
        glance.images.upload(other.id, io.BytesIO(data), image_size=len(data) + 1)
    assert glance.images.get(other.id).status == "queued"
    glance.images.delete(image.id)
    glance.images.delete(other.id)


def test_no_data_is_none(glance):
    image = glance.images.create(disk_format="raw", container_format="bare")
    assert glance.images.data(image.id).wrapped is None
    glance.images.delete(image.id)


def test_fields_are_updated(glance):
    image = glance.images.create(name="before", disk_format="raw", container_format="bare", gone="1", kept="2")
    changed = glance.images.update(image.id, remove_props=["gone"], name="after", new="3", tags=["x", "y"])
    assert (changed.name, changed.kept, changed.new) == ("after", "2", "3")
    assert "gone" not in changed and sorted(changed.tags) == ["x", "y"]
    with pytest.raises(exc.HTTPForbidden):
        glance.http_client.patch(
            f"/v2/images/{image.id}",
            headers={"Content-Type": "application/openstack-images-v2.1-json-patch"},
            data=json.dumps([{"op": "replace", "path": "/status", "value": "active"}]),
        )
    glance.images.delete(image.id)


def test_lists_page_through(glance):
    tag = os.urandom(6).hex()
    made = [glance.images.create(name=f"{number}", tags=[tag]).id for number in range(7)]
    for size in (1, 3, 200):
        found = glance.images.list(filters={"tag": [tag]}, page_size=size, sort_key="name", sort_dir="asc")
        assert [image.id for image in found] == made
    newest = glance.images.list(filters={"tag": [tag]}, sort="name:desc", limit=2)
    assert [image.name for image in newest] == ["6", "5"]
    chosen = glance.images.list(filters={"tag": [tag], "name": "in:1,2"}, sort="name:asc")
    assert [image.name for image in chosen] == ["1", "2"]
    for image in made:
        glance.images.delete(image)


def test_tags_and_members(glance):
    image = glance.images.create(disk_format="raw", container_format="bare", visibility="shared")
    glance.image_tags.update(image.id, "tag")
    assert glance.images.get(image.id).tags == ["tag"]
    glance.image_tags.delete(image.id, "tag")
    member = glance.image_members.create(image.id, "some-project")
    assert (member.member_id, member.status) == ("some-project", "pending")
    assert [each.member_id for each in glance.image_members.list(image.id)] == ["some-project"]
    glance.image_members.delete(image.id, "some-project")
    assert list(glance.image_members.list(image.id)) == []
    glance.images.delete(image.id)


def test_actions(glance):
    image = glance.images.create(disk_format="raw", container_format="bare")
    glance.images.upload(image.id, io.BytesIO(b"data"))
    glance.images.deactivate(image.id)
    assert glance.images.get(image.id).status == "deactivated"
    glance.images.reactivate(image.id)
    assert glance.images.get(image.id).status == "active"
    glance.images.delete(image.id)


def test_schemas_and_versions(glance):
    assert glance.schemas.get("image").name == "image"
    assert glance.schemas.get("member").name == "member"
    ids = [version["id"] for version in glance.versions.list()]
    assert {"v2.0", "v2.15", "v2.17"} <= set(ids)
    assert glance.images.get_import_info()["import-methods"]["type"] == "array"


def test_the_command(secured, keystone, tmp_path):
    glance = Command("glance", keystone.client_environment("demo-member"))
    data = os.urandom(1_500_000)
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(data)
    made = glance("image-create", "--name", "command", "--disk-format", "raw", "--container-format", "bare", "--file",
                  source, "--property", "a=b").decode()
    image = next(line.split("|")[2].strip() for line in made.splitlines() if line.startswith("| id "))
    assert "| active" in glance("image-show", image).decode().replace("  ", "")
    assert image in glance("image-list").decode()
    glance("image-download", "--file", target, image)
    assert target.read_bytes() == data
    glance("image-update", "--name", "renamed", "--remove-property", "a", image)
    glance("image-tag-update", image, "tag")
    shown = glance("image-show", image).decode()
    assert "renamed" in shown and "tag" in shown
    glance("image-deactivate", image)
    glance("image-reactivate", image)
    glance("member-create", image, keystone.projects["alt"])
    assert keystone.projects["alt"] in glance("member-list", "--image-id", image).decode()
    glance("member-delete", image, keystone.projects["alt"])
    glance("image-delete", image)
    glance.fails("image-show", image)
