"""Sub-commands of `glance` and `openstack image` that the other tests leave out, against a real Identity server: locations, stores, tasks,
web-download, members as both sides see them."""

import functools
import json
import time

import pytest

from conftest import DATA, Command, auth, digest, made


@pytest.fixture
def glance(ask_stores):
    """The `glance` command of somebody."""
    return functools.partial(ask_stores, "glance")


def test_data_tags_and_what_can_be_asked(glance, stores, keystone, tmp_path):
    mine = glance("demo-member")
    source = tmp_path / "source"
    source.write_bytes(DATA)
    image = made(mine("image-create", "--disk-format", "raw", "--container-format", "bare"))
    mine("image-upload", "--file", source, "--size", len(DATA), "--store", "slow", image)
    shown = stores.show(image, keystone.token("demo-member"))
    assert (shown["status"], shown["stores"], shown["os_hash_value"]) == ("active", "slow", digest(DATA))
    mine("image-tag-update", image, "tag")
    mine("image-tag-delete", image, "tag")
    assert stores.show(image, keystone.token("demo-member"))["tags"] == []
    assert "web-download" in mine("import-info").decode()
    assert "os_hash_value" in mine("explain", "image").decode()
    mine("usage")
    mine("image-delete", image)


def test_both_sides_of_a_membership(glance, keystone):
    mine, theirs = glance("demo-member"), glance("alt-member")
    alt = keystone.projects["alt"]
    image = made(mine("image-create", "--name", "shared", "--disk-format", "raw", "--container-format", "bare"))
    mine("member-create", image, alt)
    assert image not in theirs("image-list").decode()
    assert "pending" in theirs("member-get", image, alt).decode()
    theirs("member-update", image, alt, "accepted")
    assert image in theirs("image-list").decode()
    assert "accepted" in mine("member-get", image, alt).decode()
    theirs("member-update", image, alt, "rejected")
    assert image not in theirs("image-list").decode()
    mine.fails("member-update", image, alt, "accepted")
    mine("member-delete", image, alt)
    theirs.fails("member-get", image, alt)
    mine("image-delete", image)


def test_openstack_shows_a_member_and_stages_data(secured, keystone, tmp_path):
    mine = Command("openstack", keystone.client_environment("demo-member"))
    alt = keystone.projects["alt"]
    source = tmp_path / "source"
    source.write_bytes(DATA)
    image = json.loads(mine("image", "create", "--disk-format", "raw", "--container-format", "bare", "staged", "-f", "json"))["id"]
    mine("image", "add", "project", image, alt)
    assert json.loads(mine("image", "member", "get", image, alt, "-f", "json"))["status"] == "pending"
    mine("image", "stage", "--file", source, image)
    assert secured.show(image, keystone.token("demo-member"))["status"] == "uploading"
    # Of a server whose stores have no names the command asks too much, unless it is told.
    mine("image", "import", "--disallow-failure", image, "--method", "glance-direct")
    shown = secured.settled(image, keystone.token("demo-member"))
    assert (shown["status"], shown["os_hash_value"]) == ("active", digest(DATA))
    mine("image", "delete", image)


def test_data_from_the_web_goes_into_further_stores_and_out_of_one(glance, stores, keystone, origin):
    mine, admin = glance("demo-member"), glance("admin")
    image = made(mine("image-create-via-import", "--import-method", "web-download", "--uri", f"{origin}/image", "--disk-format", "raw",
                      "--container-format", "bare", "--store", "fast"))
    shown = stores.settled(image, keystone.token("demo-member"))
    assert (shown["status"], shown["stores"], shown["os_hash_value"]) == ("active", "fast", digest(DATA))
    assert "success" in mine("image-tasks", image).decode()
    admin("image-import", "--import-method", "copy-image", "--stores", "slow", image)
    assert stores.settled(image, keystone.token("demo-member"))["stores"] in ("fast,slow", "slow,fast")
    mine.fails("stores-delete", "--store", "fast", image)
    admin("stores-delete", "--store", "fast", image)
    assert stores.show(image, keystone.token("demo-member"))["stores"] == "slow"
    assert stores.get(f"/v2/images/{image}/file", headers=auth(keystone.token("demo-member"))).content == DATA
    mine("image-delete", image)


def test_locations(glance, stores, keystone, origin):
    mine = glance("demo-member")
    image = made(mine("image-create", "--disk-format", "raw", "--container-format", "bare"))
    mine("location-add", "--url", f"{origin}/image", "--metadata", '{"store": "web"}', image)
    assert stores.settled(image, keystone.token("demo-member"))["status"] == "active"
    mine("location-update", "--url", f"{origin}/image", "--metadata", '{"store": "web", "rack": "a"}', image)
    mine("location-add", "--url", f"{origin}/other", "--metadata", '{"store": "web"}', image)
    urls = [each["url"] for each in stores.show(image, keystone.token("demo-member"))["locations"]]
    assert sorted(urls) == [f"{origin}/image", f"{origin}/other"]
    assert stores.get(f"/v2/images/{image}/file", headers=auth(keystone.token("demo-member"))).content == DATA
    mine.fails("location-delete", "--url", f"{origin}/other", image)
    glance("admin")("location-delete", "--url", f"{origin}/other", image)
    assert len(stores.show(image, keystone.token("demo-member"))["locations"]) == 1
    mine("image-delete", image)
    image = made(mine("image-create", "--disk-format", "raw", "--container-format", "bare"))
    checks = json.dumps({"os_hash_algo": "sha512", "os_hash_value": digest(DATA)})
    mine("add-location", "--url", f"{origin}/image", "--validation-data", checks, image)
    shown = stores.settled(image, keystone.token("demo-member"))
    assert (shown["status"], shown["os_hash_value"]) == ("active", digest(DATA))
    mine("image-delete", image)


def test_tasks(glance, stores, keystone, origin):
    admin = glance("admin")
    source = {"import_from": f"{origin}/image", "import_from_format": "raw"}
    source["image_properties"] = {"name": "by task", "disk_format": "raw", "container_format": "bare"}
    task = made(admin("task-create", "--type", "import", "--input", json.dumps(source)))
    for _ in range(100):
        shown = admin("task-show", task).decode()
        if "success" in shown or "failure" in shown:
            break
        time.sleep(0.2)
    assert "success" in shown, shown
    assert task in admin("task-list", "--type", "import").decode()
    glance("demo-member").fails("task-show", task)
