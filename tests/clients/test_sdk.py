"""openstacksdk: the image proxy that Ansible, Ironic and others stand on."""

import os

import openstack
import pytest
from openstack import exceptions

from conftest import digest


@pytest.fixture(params=["none", "keystone"])
def image(request, vitrine):
    """The image proxy of a connection."""
    if request.param == "none":
        connection = openstack.connect(auth_type="none", endpoint=vitrine.url, load_yaml_config=False)
    else:
        keystone = request.getfixturevalue("keystone")
        request.getfixturevalue("secured")
        connection = keystone.connect("demo-member")
    yield connection.image
    connection.close()


@pytest.fixture
def made(image, tmp_path):
    """An active image, and its data."""
    data = os.urandom(2_000_003)
    source = tmp_path / "source"
    source.write_bytes(data)
    name = f"sdk-{os.urandom(4).hex()}"
    new = image.create_image(
        name, filename=str(source), disk_format="raw", container_format="bare", validate_checksum=True, wait=True, a="1"
    )
    yield image.get_image(new.id), data
    image.delete_image(new.id)


def test_an_image_is_made_of_a_file(image, made):
    new, data = made
    assert new.status == "active" and new.size == len(data)
    assert new.checksum == digest(data, "md5")
    assert (new.hash_algo, new.hash_value) == ("sha512", digest(data))
    assert new.properties["owner_specified.openstack.md5"] == digest(data, "md5")
    assert new.properties["a"] == "1"


def test_data_is_downloaded_and_verified(image, made, tmp_path):
    new, data = made
    assert image.download_image(new).content == data
    target = tmp_path / "target"
    with target.open("wb") as output:
        image.download_image(new, stream=False, output=output)
    assert target.read_bytes() == data
    streamed = image.download_image(new, stream=True)
    assert b"".join(streamed.iter_content(chunk_size=100_000)) == data


def test_images_are_found_by_name_and_id(image, made):
    new, _ = made
    assert image.find_image(new.name).id == new.id
    assert image.find_image(new.id).id == new.id
    assert image.find_image("no-such-image") is None
    with pytest.raises(exceptions.NotFoundException):
        image.find_image("no-such-image", ignore_missing=False)


def test_hidden_images_are_found(image):
    name = f"hidden-{os.urandom(4).hex()}"
    new = image.create_image(name, disk_format="raw", container_format="bare")
    image.update_image(new, is_hidden=True)
    assert image.find_image(name).id == new.id
    assert new.id not in [each.id for each in image.images(name=name)]
    image.delete_image(new)


def test_images_are_listed(image, made):
    new, _ = made
    assert [each.id for each in image.images(name=new.name)] == [new.id]
    assert [each.id for each in image.images(name=new.name, status="queued")] == []
    names = [f"{new.name}-{number}" for number in range(5)]
    extra = [image.create_image(name, tags=[new.name]) for name in names]
    listed = image.images(tag=new.name, sort="name:asc", limit=2)
    assert [each.name for each in listed] == names
    for each in extra:
        image.delete_image(each)


def test_fields_tags_members_and_actions(image, made):
    new, _ = made
    changed = image.update_image(new, name="renamed", min_ram=5, visibility="shared")
    assert (changed.name, changed.min_ram, changed.visibility) == ("renamed", 5, "shared")
    image.add_tag(new, "tag")
    assert image.get_image(new.id).tags == ["tag"]
    image.remove_tag(new, "tag")
    image.add_member(new, member_id="some-project")
    assert [each.id or each.member_id for each in image.members(new)] == ["some-project"]
    image.remove_member("some-project", new)
    image.deactivate_image(new)
    assert image.get_image(new.id).status == "deactivated"
    image.reactivate_image(new)
    assert image.get_image(new.id).status == "active"


def test_schemas_and_discovery(image):
    assert image.get_image_schema().properties["disk_format"]
    assert image.get_members_schema().properties
    assert image.get_import_info().import_methods["description"] == "Import methods available."
