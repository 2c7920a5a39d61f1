"""The two servers under comparison, behind one Identity server and with the same glance-api.conf."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "clients"))

from identity import PASSWORD, USERS, Keystone  # noqa: E402, F401
from processes import Process, free_port, wait_for_http, wait_for_line  # noqa: E402

GLANCE = "glance"
VITRINE = "vitrine"
# In this order everywhere: what is expected, then what is.
BOTH = (GLANCE, VITRINE)



@dataclasses.dataclass(frozen=True)
class Site:
    """One way to configure both servers."""

    # Each store's section; empty: one store without a name, as old configurations have it.
    stores: dict[str, str]
    # More stores, whose data lies with others.
    http: tuple[str, ...] = ()
    # Stores that fail once the servers have begun: a plain file lies where their directory was.
    broken: tuple[str, ...] = ()
    # More of [DEFAULT], then sections, in which {home}, {keystone}, {key_manager} and {password} stand for what they are.
    default: str = ""
    sections: str = ""
    # Whether tasks have a directory of their own.
    work: bool = True
    # Keystone's limits: by resource those of all projects, by project and resource those of one.
    registered_limits: dict[str, int] = dataclasses.field(default_factory=dict)
    project_limits: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    flavor: str = "keystone"
    # More files that the configuration names, by their names.
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    # Whether both load the metadata definitions that Glance ships, each with its own command.
    metadefs: bool = False
    # Whether there is a key manager, and signers whose certificates it holds.
    signers: bool = False


# Whose data may be fetched: that of this machine, at every port.
FETCHING = """\
[import_filtering_opts]
allowed_hosts = [127.0.0.1, localhost]
allowed_ports = []
[dataplane]
fetch_answer_timeout_seconds = 1
"""

SITES = {
    "multi": Site({"fast": "store_description = the fast store\nweight = 20", "slow": "weight = 10"}),
    "single": Site({"only": "store_description = the only store"}),
    "legacy": Site({}),
    # Users may have this machine asked for data. Vitrine tells failures after a second instead of fifteen.
    # Without a directory for tasks: from there, Glance's tasks API fails to look into what it fetched.
    "web": Site(
        {},
        work=False,
        default="show_image_direct_url = True\nenabled_import_methods = [glance-direct,web-download,copy-image,glance-download]",
        sections=FETCHING,
    ),
    # What operators turn on: more is shown, strangers may read, pages of other sizes, a browser's origin.
    "open": Site(
        {"fast": ""},
        http=("far",),
        default="""\
show_image_direct_url = True
show_multiple_locations = True
allow_anonymous_access = True
public_endpoint = https://images.example.org/
limit_param_default = 2
api_limit_max = 4
""",
        sections=FETCHING
        + """\
[cors]
allowed_origin = https://panel.example.org
max_age = 60
[oslo_middleware]
enable_proxy_headers_parsing = True
[image_format]
disk_formats = raw,qcow2
container_formats = bare
""",
    ),
    # Locations that are shown, of one store without a name.
    "shown": Site({}, default="show_multiple_locations = True", sections=FETCHING),
    # Quotas from Keystone, so low that each can be reached. Asked about for every request, as Glance does.
    "limits": Site(
        {"fast": "", "slow": ""},
        default="use_keystone_limits = True",
        sections="""\
[control]
keystone_limits_cache_seconds = 0
[oslo_limit]
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
user_domain_id = default
system_scope = all
endpoint_service_type = image
endpoint_region_name = RegionOne
endpoint_interface = public
""",
        registered_limits={
            "image_size_total": 1,
            "image_stage_total": 1,
            "image_count_total": 3,
            "image_count_uploading": 2,
        },
        project_limits={"demo": {"image_count_total": 6}, "admin": {"image_count_total": -1}},
    ),
    # A cache as operators turn it on, and a key manager that does not answer.
    "cached": Site(
        {"fast": ""},
        default="image_cache_dir = {home}/cache",
        sections="[barbican]\nbarbican_endpoint = http://127.0.0.1:1\nauth_endpoint = {keystone}",
        flavor="keystone+cachemanagement",
    ),
    # Rules of metadata definitions that differ, so that it shows which of them is asked, and property protections by rules.
    "rules": Site(
        {"fast": ""},
        default="property_protection_file = {home}/protections.conf\nproperty_protection_rule_format = policies",
        sections="[oslo_policy]\npolicy_file = {home}/policy.yaml\n",
        files={
            "policy.yaml": """\
"add_metadef_namespace": "role:member"
"modify_metadef_namespace": "role:member and project_id:%(project_id)s"
"delete_metadef_namespace": "role:reader"
"add_metadef_object": "!"
"get_metadef_object": "role:admin"
"get_metadef_objects": "role:reader"
"get_metadef_properties": "role:member"
"get_metadef_property": "role:reader"
"get_metadef_resource_type": "role:admin"
"add_metadef_tag": "role:member"
"modify_metadef_tag": "role:reader"
"delete_metadef_tags": "role:member"
"payers": "role:admin"
"owners": "role:member"
"nobody": "!"
""",
            "protections.conf": """\
[^x_paid]
create = payers
read = @
update = payers
delete = nobody
[^x_own_]
create = owners
read = owners
update = owners
delete = owners
[^x_sealed]
create = owners
read = @
update = !
delete = !
[.*]
create = @
read = @
update = @
delete = @
""",
        },
    ),
    # Property protections by roles. What no section matches, nobody may have.
    "protected": Site(
        {"fast": ""},
        default="property_protection_file = {home}/protections.conf",
        files={
            "protections.conf": """\
[^x_billing]
create = admin
read = admin, member
update = admin
delete = admin
[^x_secret$]
create = admin,Member
read = admin
update = admin,member
delete = admin,member
[^x_service_.*]
create = service
read = service,member
update = service
delete = service
[^x_once]
create = member
read = @
update = !
delete =
[^x_writable]
create = @
read = !
update = @
delete = @
[^x_(open|free)]
create = @
read = @
update = @
delete = @
[^hw_]
create = member
read = reader, service
update = member
delete = admin
""",
        },
    ),
    # A store that fails beside one that does not: the first, and one in the middle.
    "failing": Site(
        {"fast": "weight = 20", "slow": "", "full": ""},
        broken=("full",),
        sections=FETCHING,
    ),
    # A key manager that has the certificates of signed images.
    "signed": Site(
        {"fast": "", "slow": ""},
        sections="[barbican]\nbarbican_endpoint = {key_manager}\nauth_endpoint = {keystone}\n",
        signers=True,
    ),
    # The metadata definitions that Glance ships. One script alone has them, as what it leaves behind is removed.
    "catalogue": Site({"fast": ""}, metadefs=True),
    # What is done to staged data. Glance runs Python for the limits of qemu-img, and under uWSGI it does not know which.
    "plugins": Site(
        {"fast": "", "slow": ""},
        sections=f"""\
[image_import_opts]
image_import_plugins = [image_decompression, image_conversion, inject_image_metadata]
[inject_metadata_properties]
inject = origin:import, os_glance_hidden:no, hw_disk_bus:scsi
[wsgi]
python_interpreter = {os.environ.get("VITRINE_TEST_GLANCE", "")}/bin/python
""",
    ),
}

# The configuration of both. Each has its own directories and nothing else of its own.
CONFIG = """\
[DEFAULT]
{enabled}
{more}
node_staging_uri = file://{home}/staging
worker_self_reference_url = {url}
image_size_cap = 1048576
image_property_quota = 12
image_tag_quota = 5
image_member_quota = 3
[database]
connection = sqlite:///{home}/glance.sqlite?timeout=30
[glance_store]
{default}
{stores}
[os_glance_staging_store]
filesystem_store_datadir = {home}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {home}/tasks
{work}
[oslo_concurrency]
lock_path = {home}/locks
[paste_deploy]
flavor = {flavor}
config_file = {paste}
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
{sections}
"""

# As in the release's own httpd/uwsgi-glance-api.conf, with one worker: with SQLite, two that write at once would fail.
# The limit of a chunk is raised over its 1 MiB, which the chunks of Glance's own client pass.
UWSGI = """\
[uwsgi]
http-socket = 127.0.0.1:{port}
module = glance.wsgi.api:application
processes = 1
master = true
socket-timeout = 10
http-auto-chunked = true
http-chunked-input = true
http-raw-body = true
chunked-input-limit = 16777216
lazy-apps = true
buffer-size = 65535
thunder-lock = true
enable-threads = true
die-on-term = true
need-app = true
disable-logging = true
add-header = Connection: close
"""


@dataclasses.dataclass
class Server:
    """A running Image server."""

    name: str
    port: int
    home: pathlib.Path
    process: Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> pathlib.Path:
        """Where its catalog lies."""
        return self.home / "glance.sqlite"


def setting(name: str) -> pathlib.Path:
    """A path that `tests/compare/run` gives."""
    value = os.environ.get(name)
    assert value, f"{name} is not set: run this by tests/compare/run"
    return pathlib.Path(value)


@contextlib.contextmanager
def keystone(home: pathlib.Path) -> Iterator[Keystone]:
    """The Identity server. Which Image server its catalog names matters to nobody here."""
    home.mkdir()
    server = Keystone(home, setting("VITRINE_TEST_IDENTITY"), free_port())
    try:
        server.start("http://127.0.0.1:9292")
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def pair(home: pathlib.Path, identity: Keystone, site: Site, key_manager: str) -> Iterator[dict[str, Server]]:
    """Both Image servers of a site, empty. `key_manager` is its URL, where there is one."""
    servers: dict[str, Server] = {}
    identity.set_limits(site.registered_limits, site.project_limits)
    try:
        for name, start in ((GLANCE, _start_glance), (VITRINE, _start_vitrine)):
            port = free_port()
            place = home / name
            config = _write_config(place, port, identity, site, key_manager)
            servers[name] = Server(name, port, place, start(place, config, port, site.metadefs))
            for store in site.broken:
                _break(place / "images" / store)
        yield servers
    finally:
        for server in servers.values():
            server.process.stop()


def _break(directory: pathlib.Path) -> None:
    """Takes the directory of a store away. As a right it could not be: the tests may be root's."""
    shutil.rmtree(directory)
    directory.touch()


def _write_config(home: pathlib.Path, port: int, identity: Keystone, site: Site, key_manager: str) -> pathlib.Path:
    for name in ("staging", "tasks", "work", "locks", "images"):
        (home / name).mkdir(parents=True)
    for store in site.stores:
        (home / "images" / store).mkdir()
    text = CONFIG.format(
        home=home,
        url=f"http://127.0.0.1:{port}",
        enabled=_enabled(site),
        more=site.default.format(home=home),
        work=f"[task]\nwork_dir = {home}/work" if site.work else "",
        flavor=site.flavor,
        default=_default(home, list(site.stores)),
        stores="\n".join(
            f"[{store}]\nfilesystem_store_datadir = {home}/images/{store}\n{lines}" for store, lines in site.stores.items()
        )
        + "".join(f"\n[{store}]" for store in site.http),
        paste=_write_paste(home),
        keystone=identity.url,
        password=PASSWORD,
        sections=site.sections.format(keystone=identity.url, key_manager=key_manager, password=PASSWORD, home=home),
    )
    path = home / "glance-api.conf"
    path.write_text(text)
    for name, text in site.files.items():
        (home / name).write_text(text)
    return path


def _enabled(site: Site) -> str:
    if not site.stores:
        return ""
    stores = [f"{store}:file" for store in site.stores] + [f"{store}:http" for store in site.http]
    return f"enabled_backends = {','.join(stores)}"


def _write_paste(home: pathlib.Path) -> pathlib.Path:
    """Glance's pipelines as released, whose filters otherwise read their options from /etc/glance only."""
    text = (setting("VITRINE_TEST_GLANCE") / "etc/glance/glance-api-paste.ini").read_text()
    project = "oslo_config_project = glance"
    assert project in text, "the released pipelines have changed"
    path = home / "glance-api-paste.ini"
    path.write_text(text.replace(project, f"{project}\noslo_config_file = {home}/glance-api.conf"))
    return path


def _default(home: pathlib.Path, stores: list[str]) -> str:
    if stores:
        return f"default_backend = {stores[0]}"
    return f"stores = file,http\ndefault_store = file\nfilesystem_store_datadir = {home}/images"


# `glance-manage` that takes files in the order of their names, as Vitrine does: the time of making decides the order of lists.
SORTED_MANAGE = """\
import os, sys
found = os.listdir
os.listdir = lambda *place: sorted(found(*place))
from glance.cmd.manage import main
sys.exit(main())
"""


def _run(*command) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _shipped() -> pathlib.Path:
    """The metadata definitions that Glance ships."""
    return setting("VITRINE_TEST_GLANCE") / "etc/glance/metadefs"


def _start_glance(home: pathlib.Path, config: pathlib.Path, port: int, metadefs: bool) -> Process:
    programs = setting("VITRINE_TEST_GLANCE") / "bin"
    manage = [programs / "glance-manage", "--config-file", config]
    _run(*manage, "db_sync")
    if metadefs:
        _run(programs / "python", "-c", SORTED_MANAGE, "--config-file", config, "db", "load_metadefs", "--path", _shipped())
    # Its tasks write while others read: without the log either would find the database locked.
    with contextlib.closing(sqlite3.connect(home / "glance.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")
    ini = home / "uwsgi.ini"
    ini.write_text(UWSGI.format(port=port))
    command = [programs / "uwsgi", "--ini", ini, "--virtualenv", programs.parent]
    process = Process(command, home / "log", {"OS_GLANCE_CONFIG_DIR": str(home)})
    try:
        wait_for_http(f"http://127.0.0.1:{port}/healthcheck", process)
    except BaseException:
        process.stop()
        raise
    return process


def _start_vitrine(home: pathlib.Path, config: pathlib.Path, port: int, metadefs: bool) -> Process:
    if metadefs:
        _run(setting("VITRINE_BINARY"), "metadefs", "load", _shipped(), "--config", config, "--data-dir", home / "data")
    command = [setting("VITRINE_BINARY"), "serve", "--data-dir", home / "data", "--config", config]
    command += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{free_port()}"]
    process = Process(command, home / "log")
    try:
        wait_for_line(f"vitrine: ready on http://127.0.0.1:{port}", process)
    except BaseException:
        process.stop()
        raise
    return process
