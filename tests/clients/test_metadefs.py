"""Metadata definitions: the commands and libraries of clients as an administrator and a reader, and files as `glance-manage` loads them."""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import time

import pytest
from openstack import exceptions

from conftest import Command, auth, setting

# Seconds that loading the definitions that Glance ships may take.
LOAD = 1.0


@pytest.fixture
def namespace():
    """A name that nothing has."""
    return f"Test::{os.urandom(4).hex()}"


@pytest.fixture(scope="module")
def glance(secured, keystone):
    return Command("glance", keystone.client_environment("admin"))


@pytest.fixture(scope="module")
def reader(secured, keystone):
    return Command("glance", keystone.client_environment("demo-reader"))


def rows(table: bytes) -> list[list[str]]:
    """The cells of a table as clients print it, without its head."""
    lines = [line for line in table.decode().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_glance_command(glance, reader, namespace):
    made = glance("md-namespace-create", "--display-name", "Shown", "--visibility", "public", "--description", "Words", namespace)
    assert ["display_name", "Shown"] in rows(made)
    assert "Conflict" in glance.fails("md-namespace-create", namespace)
    assert "Forbidden" in reader.fails("md-namespace-update", "--display-name", "x", namespace)

    glance("md-resource-type-associate", "--name", "OS::Test::Thing", "--prefix", "t_", namespace)
    glance("md-property-create", "--name", "size", "--title", "Size", "--type", "integer", "--schema", '{"minimum": 1, "default": 5}', namespace)
    schema = {"description": "d", "properties": {"p": {"title": "P", "type": "string"}}, "required": ["p"]}
    glance("md-object-create", "--name", "object", "--schema", json.dumps(schema), namespace)
    glance("md-tag-create", "--name", "first", namespace)
    # Its --append fails before it sends anything.
    glance("md-tag-create-multiple", "--names", "a,b,c", namespace)
    assert sorted(row[0] for row in rows(reader("md-tag-list", namespace))) == ["a", "b", "c"]

    shown = dict(row for row in rows(reader("md-namespace-show", namespace)) if len(row) == 2)
    assert shown["owner"] and shown["visibility"] == "public"
    assert "t_size" in reader("md-namespace-show", "--resource-type", "OS::Test::Thing", namespace).decode()
    assert any(row[0] == namespace for row in rows(reader("md-namespace-list")))
    assert any(row[0] == namespace for row in rows(reader("md-namespace-list", "--resource-types", "OS::Test::Thing", "--page-size", "1")))
    assert ["default", "5"] in rows(reader("md-property-show", namespace, "size"))
    assert ["title", "P"] in rows(reader("md-object-property-show", namespace, "object", "p"))
    assert any(row[0] == "OS::Test::Thing" for row in rows(reader("md-resource-type-list")))
    assert any(row[0] == "OS::Test::Thing" for row in rows(reader("md-namespace-resource-type-list", namespace)))

    glance("md-property-update", "--name", "width", "--title", "Width", "--schema", '{"type": "integer"}', namespace, "size")
    assert [row[0] for row in rows(reader("md-property-list", namespace))] == ["width"]
    glance("md-object-update", "--name", "renamed", namespace, "object")
    assert [row[0] for row in rows(reader("md-object-list", namespace))] == ["renamed"]
    glance("md-tag-update", "--name", "z", namespace, "a")
    assert ["name", "z"] in rows(reader("md-tag-show", namespace, "z"))

    glance("md-namespace-update", "--protected", "True", "--visibility", "public", namespace)
    for command in (["md-namespace-delete", namespace], ["md-tag-delete", namespace, "z"], ["md-namespace-objects-delete", namespace]):
        assert "protected" in glance.fails(*command), command
    glance("md-namespace-update", "--protected", "False", "--visibility", "private", namespace)
    assert "Not Found" in reader.fails("md-namespace-show", namespace), "it is private now, and another project's"
    glance("md-tag-delete", namespace, "z")
    glance("md-object-delete", namespace, "renamed")
    glance("md-property-delete", namespace, "width")
    glance("md-resource-type-deassociate", namespace, "OS::Test::Thing")
    for part in ("objects", "properties", "tags"):
        glance(f"md-namespace-{part}-delete", namespace)
    glance("md-namespace-delete", namespace)
    assert "Not Found" in glance.fails("md-namespace-show", namespace)


def test_the_glance_command_imports_what_glance_ships(glance, shipped, tmp_path):
    for name in ("compute-vmware.json", "cim-storage-allocation-setting-data.json"):
        document = json.loads((shipped / name).read_text())
        document["namespace"] = wanted = f"Imported::{os.urandom(4).hex()}"
        path = tmp_path / name
        path.write_text(json.dumps(document))
        glance("md-namespace-import", "--file", path)
        properties = {row[0] for row in rows(glance("md-property-list", wanted))}
        assert properties == set(document.get("properties", {}))
        # What ships is protected.
        glance("md-namespace-update", "--protected", "False", wanted)
        glance("md-namespace-delete", wanted)


def test_openstacksdk(secured, keystone, namespace):
    connection = keystone.connect("admin")
    with contextlib.closing(connection):
        image = connection.image
        made = image.create_metadef_namespace(namespace=namespace, display_name="Shown", visibility="public")
        assert (made.namespace, made.is_protected) == (namespace, False) and made.created_at
        image.create_metadef_resource_type_association(made, name="OS::Test::Sdk", prefix="s_")
        assert [each.name for each in image.metadef_resource_type_associations(made)] == ["OS::Test::Sdk"]
        assert "OS::Test::Sdk" in [each.name for each in image.metadef_resource_types()]
        image.create_metadef_property(made, name="p", title="P", type="string", enum=["a", "b"])
        image.update_metadef_property("p", made, name="p", title="Changed", type="string")
        assert [(each.name, each.title) for each in image.metadef_properties(made)] == [("p", "Changed")]
        assert image.get_metadef_property("p", made).type == "string"
        image.create_metadef_object(made, name="o", description="d", properties={"q": {"title": "Q", "type": "string"}}, required=["q"])
        image.update_metadef_object("o", made, name="o", description="changed")
        assert image.get_metadef_object("o", made).description == "changed"
        assert [each.name for each in image.metadef_objects(made)] == ["o"]
        image.add_tag_to_metadef_namespace(made, "t")
        image.remove_tag_from_metadef_namespace(made, "t")
        image.update_metadef_namespace(made, display_name="Changed", visibility="public")
        assert image.get_metadef_namespace(namespace).display_name == "Changed"
        # Page after page.
        assert namespace in [each.namespace for each in image.metadef_namespaces(limit=1)]
        for kind in ("namespace", "namespaces", "object", "objects", "property", "properties", "tag", "tags", "resource_type", "resource_types"):
            assert getattr(image, f"get_metadef_{kind}_schema")().properties, kind
        image.delete_metadef_property("p", made)
        image.delete_all_metadef_objects(made)
        image.delete_all_metadef_properties(made)
        image.remove_tags_from_metadef_namespace(made)
        image.delete_metadef_resource_type_association("OS::Test::Sdk", made)
        image.delete_metadef_namespace(made, ignore_missing=False)
        with pytest.raises(exceptions.NotFoundException):
            image.get_metadef_namespace(namespace)


def test_the_openstack_command(secured, keystone, namespace):
    client = Command("openstack", keystone.client_environment("admin"))

    def metadef(*words):
        return client("image", "metadef", *words)

    metadef("namespace", "create", "--public", "--display-name", "Shown", namespace)
    metadef("namespace", "set", "--public", "--description", "Words", namespace)
    assert json.loads(metadef("namespace", "show", namespace, "-f", "json"))["description"] == "Words"
    metadef("property", "create", "--name", "p", "--title", "P", "--type", "string", "--schema", "{}", namespace)
    metadef("object", "create", "--namespace", namespace, "o")
    metadef("resource", "type", "association", "create", namespace, "OS::Test::Command")
    for kind in (["property"], ["object"], ["resource", "type", "association"]):
        assert metadef(*kind, "list", namespace, "-f", "value").strip(), kind
    metadef("object", "delete", namespace, "o")
    metadef("property", "delete", namespace, "p")
    metadef("resource", "type", "association", "delete", namespace, "OS::Test::Command")
    metadef("namespace", "delete", namespace)
    assert namespace not in metadef("namespace", "list", "-f", "value").decode()


# What follows needs no Identity server: databases and files.


@pytest.fixture(scope="module")
def shipped() -> pathlib.Path:
    """The definitions that Glance ships."""
    directory = setting("VITRINE_TEST_GLANCE") / "etc/glance/metadefs"
    assert len(list(directory.glob("*.json"))) > 30, directory
    return directory


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> pathlib.Path:
    """A database made by Glance, with nothing in it."""
    home = tmp_path_factory.mktemp("empty")
    manage(home, "db_sync")
    return home / "glance.sqlite"


class Home:
    """A directory with a database, and the configuration that both read."""

    def __init__(self, home: pathlib.Path, empty: pathlib.Path) -> None:
        home.mkdir()
        self.home = home
        shutil.copy(empty, home / "glance.sqlite")

    def glance(self, *arguments) -> None:
        manage(self.home, *arguments)

    def vitrine(self, *arguments) -> subprocess.CompletedProcess:
        command = [setting("VITRINE_BINARY"), "metadefs", *arguments, "--config", configured(self.home)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def loads(self, *arguments) -> str:
        done = self.vitrine(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dump(self) -> dict[str, list]:
        """Every row, with names in place of numbers, and of times whether they are there."""
        queries = {
            "namespaces": "SELECT namespace, display_name, description, visibility, protected, owner FROM metadef_namespaces n",
            "objects": f"SELECT {WHERE}, name, n.description, required, json_schema FROM metadef_objects n",
            "properties": f"SELECT {WHERE}, name, json_schema FROM metadef_properties n",
            "tags": f"SELECT {WHERE}, name FROM metadef_tags n",
            "types": "SELECT name, protected FROM metadef_resource_types n",
            "associations": f"SELECT {WHERE}, (SELECT name FROM metadef_resource_types WHERE id = resource_type_id), properties_target, prefix"
            " FROM metadef_namespace_resource_types n",
        }
        with contextlib.closing(sqlite3.connect(self.home / "glance.sqlite")) as database:
            times = ", n.created_at IS NULL, n.updated_at IS NULL FROM"
            return {
                name: sorted(database.execute(times.join(query.rsplit(" FROM", 1))).fetchall(), key=repr)
                for name, query in queries.items()
            }


WHERE = "(SELECT namespace FROM metadef_namespaces WHERE id = namespace_id)"


def configured(home: pathlib.Path) -> pathlib.Path:
    path = home / "glance-api.conf"
    path.write_text(f"[DEFAULT]\nbind_host = 127.0.0.1\n[database]\nconnection = sqlite:///{home}/glance.sqlite\n")
    return path


def manage(home: pathlib.Path, *arguments) -> None:
    command = [setting("VITRINE_TEST_GLANCE") / "bin/glance-manage", "--config-file", configured(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


@pytest.fixture
def both(tmp_path, empty):
    return Home(tmp_path / "glance", empty), Home(tmp_path / "vitrine", empty)


@pytest.fixture(scope="module")
def changed(shipped, tmp_path_factory) -> pathlib.Path:
    """The same definitions as somebody has changed them."""
    directory = tmp_path_factory.mktemp("changed")
    for number, path in enumerate(sorted(shipped.glob("*.json"))):
        document = json.loads(path.read_text())
        document["display_name"] += " changed"
        document["owner"] = "somebody"
        properties = document.setdefault("properties", {})
        for definition in properties.values():
            definition["title"] += " ü"
        properties["added"] = {"title": "Added", "type": "integer", "default": 5}
        document.setdefault("tags", []).extend([{"name": "one"}, {"name": "two"}])
        document.setdefault("objects", []).append({"name": f"added {number}", "description": "d"})
        for association in document["resource_type_associations"]:
            association["prefix"] = "changed_"
        document["resource_type_associations"].append({"name": "Added", "properties_target": "image"})
        (directory / path.name).write_text(json.dumps(document))
    return directory


@pytest.mark.parametrize("options", [[], ["--merge"], ["--merge", "--prefer_new"], ["--merge", "--overwrite"]], ids=" ".join)
def test_files_are_loaded_as_glance_loads_them(both, shipped, changed, options):
    glance, vitrine = both
    glance.glance("db", "load_metadefs", "--path", shipped)
    begun = time.monotonic()
    told = vitrine.loads("load", shipped)
    seconds = time.monotonic() - begun
    assert seconds < LOAD, f"{seconds:.2f} s"
    assert told.count("new ") == len(list(shipped.glob("*.json")))
    assert vitrine.dump() == glance.dump()
    glance.glance("db", "load_metadefs", "--path", changed, *options)
    vitrine.loads("load", changed, *options)
    assert vitrine.dump() == glance.dump()
    # Over what the other has loaded, too.
    shutil.copy(glance.home / "glance.sqlite", vitrine.home / "glance.sqlite")
    for home in both:
        for end in ("-wal", "-shm"):
            (home.home / f"glance.sqlite{end}").unlink(missing_ok=True)
    glance.glance("db", "load_metadefs", "--path", shipped, *options)
    vitrine.loads("load", shipped, *options)
    assert vitrine.dump() == glance.dump()
    glance.glance("db", "unload_metadefs")
    vitrine.loads("unload")
    assert vitrine.dump() == glance.dump() == {name: [] for name in glance.dump()}


def test_what_is_written_is_loaded_again_by_both(both, shipped, tmp_path):
    glance, vitrine = both
    vitrine.loads("load", shipped)
    whole = vitrine.dump()
    written = vitrine.loads("export", tmp_path / "written").splitlines()
    assert len(written) == len(set(written)) == len(whole["namespaces"])
    vitrine.loads("unload")
    vitrine.loads("load", tmp_path / "written")
    again = vitrine.dump()
    # What a file did not say has its default now.
    plain = [(*row[:3], row[3] or "private", row[4] or 0, *row[5:]) for row in whole["namespaces"]]
    assert again == {**whole, "namespaces": sorted(plain, key=repr)}
    glance.glance("db", "load_metadefs", "--path", tmp_path / "written")
    assert glance.dump() == again


def test_a_directory_may_stand_in_the_configuration_and_a_file_alone(both, shipped):
    _, vitrine = both
    done = vitrine.vitrine("load")
    assert done.returncode == 1 and "/etc/glance/metadefs" in done.stderr
    path = shipped / "operating-system.json"
    assert vitrine.loads("load", path) == f"new {json.loads(path.read_text())['namespace']}\n"


def test_a_file_that_is_none_loads_nothing(both, shipped, tmp_path):
    _, vitrine = both
    shutil.copy(shipped / "operating-system.json", tmp_path / "good.json")
    for text in ("{", "[]", "{}", '{"namespace": "x", "objects": [{}]}'):
        (tmp_path / "bad.json").write_text(text)
        done = vitrine.vitrine("load", tmp_path)
        assert done.returncode == 1 and "bad.json" in done.stderr and "nothing was loaded" in done.stderr, done
        assert vitrine.dump()["namespaces"] == []
    for options in (["--prefer-new"], ["--overwrite"], ["--merge", "--prefer-new", "--overwrite"]):
        assert vitrine.vitrine("load", shipped, *options).returncode == 2, options
    assert vitrine.dump()["namespaces"] == []


def test_a_running_service_has_at_once_what_is_loaded(secured, keystone, shipped, glance):
    config = secured.data / "metadefs.conf"
    config.write_text("[DEFAULT]\nbind_host = 127.0.0.1\n")
    command = [setting("VITRINE_BINARY"), "metadefs"]
    where = ["--config", config, "--data-dir", secured.data]
    subprocess.run([*command, "load", shipped, *where], check=True, capture_output=True)
    headers = auth(keystone.token("demo-reader"))
    listed = secured.get("/v2/metadefs/namespaces?limit=1000", headers=headers).json()["namespaces"]
    listed = [each for each in listed if each["owner"] == "admin"]
    # Two of them do not say that they are public.
    public = [path for path in shipped.glob("*.json") if json.loads(path.read_text()).get("visibility") == "public"]
    assert len(listed) == len(public)
    for each in listed:
        shown = secured.get(f"/v2/metadefs/namespaces/{each['namespace']}", headers=headers)
        assert shown.status_code == 200, each
    assert "OS::Compute::VMwareFlavor" in glance("md-namespace-list").decode()
    subprocess.run([*command, "unload", *where], check=True, capture_output=True)
    assert secured.get("/v2/metadefs/namespaces", headers=headers).json()["namespaces"] == []
