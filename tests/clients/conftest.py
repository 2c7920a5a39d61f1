"""What the tests of real clients share: our server with and without an Identity server, and the clients.

`tests/run` sets VITRINE_BINARY, and VITRINE_TEST_IDENTITY, VITRINE_TEST_BARBICAN and VITRINE_TEST_NOVA (virtual
environments). To try the tests themselves on another implementation, VITRINE_TEST_ENDPOINT and
VITRINE_TEST_KEYSTONE_ENDPOINT name servers that already run: without authentication, and validating tokens at
http://127.0.0.1:$VITRINE_TEST_KEYSTONE_PORT/v3.
"""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import pytest
import requests

from identity import PASSWORD, Keystone
from processes import Process, free_port, wait_for_line

OCTETS = {"Content-Type": "application/octet-stream"}

KEYSTONE_CONFIG = """\
[paste_deploy]
flavor = keystone
[keystone_authtoken]
www_authenticate_uri = {url}
auth_url = {url}
auth_type = password
username = glance
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
"""


def setting(name: str) -> pathlib.Path:
    """A path that `tests/run` gives; without it the tests cannot be, and fail."""
    value = os.environ.get(name)
    assert value, f"{name} is not set: run the tests by tests/run"
    return pathlib.Path(value)


def is_foreign() -> bool:
    """Whether the tests are tried on another implementation."""
    return "VITRINE_TEST_ENDPOINT" in os.environ


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A skipped test is a failed one: nothing is left out in silence."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as failed: {report.longrepr}"


@dataclasses.dataclass
class Server:
    """A running Image server."""

    url: str
    admin_url: str
    data: pathlib.Path | None
    process: Process | None

    def request(self, method: str, path: str, **options) -> requests.Response:
        return requests.request(method, self.url + path, timeout=120, **options)

    def get(self, path: str, **options) -> requests.Response:
        return self.request("GET", path, **options)

    def create(self, token: str | None = None, **fields) -> dict:
        """A new image, raw and bare unless said otherwise."""
        body = {"disk_format": "raw", "container_format": "bare", **fields}
        reply = self.request("POST", "/v2/images", json=body, headers=auth(token))
        assert reply.status_code == 201, reply.text
        return reply.json()

    def upload(self, image: str, data, token: str | None = None) -> None:
        headers = {**OCTETS, **auth(token)}
        reply = self.request("PUT", f"/v2/images/{image}/file", data=data, headers=headers)
        assert reply.status_code == 204, reply.text

    def show(self, image: str, token: str | None = None) -> dict:
        reply = self.get(f"/v2/images/{image}", headers=auth(token))
        assert reply.status_code == 200, reply.text
        return reply.json()

    def settled(self, image: str, token: str | None = None) -> dict:
        """The image, once no import or task has it any more."""
        for _ in range(300):
            shown = self.show(image, token)
            if shown["status"] != "importing" and "os_glance_import_task" not in shown:
                return shown
            time.sleep(0.1)
        raise AssertionError(f"{image} stays {shown['status']}")

    def stored_file(self, image: str) -> pathlib.Path:
        """The one file of the store that holds an image's bytes."""
        assert self.data, "the store of another implementation is not looked at"
        found = [path for path in self.data.rglob(f"*{image}*") if path.is_file()]
        assert len(found) == 1, found
        return found[0]


def auth(token: str | None) -> dict[str, str]:
    return {"X-Auth-Token": token} if token else {}


def start_vitrine(home: pathlib.Path, config: str | None, port: int) -> Server:
    admin = free_port()
    home.mkdir(parents=True, exist_ok=True)
    command = [setting("VITRINE_BINARY"), "serve", "--data-dir", home / "data"]
    command += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"]
    if common := os.environ.get("VITRINE_TEST_CONFIG"):
        command += ["--config", common]
    if config:
        path = home / "glance-api.conf"
        path.write_text(config)
        command += ["--config", path]
    process = Process(command, home / "vitrine.log")
    url = f"http://127.0.0.1:{port}"
    wait_for_line(f"vitrine: ready on {url}", process)
    return Server(url, f"http://127.0.0.1:{admin}", home / "data", process)


@contextlib.contextmanager
def running(home: pathlib.Path, config: str | None, port: int | None = None):
    """Our server with this configuration; it ends with the block, and has not panicked by then."""
    server = start_vitrine(home, config, port or free_port())
    yield server
    server.process.stop()
    assert "panicked" not in server.process.text(), server.process.text()


@pytest.fixture(scope="session")
def vitrine(tmp_path_factory):
    """Our server with its defaults: no authentication."""
    if endpoint := os.environ.get("VITRINE_TEST_ENDPOINT"):
        yield Server(endpoint, endpoint, None, None)
        return
    with running(tmp_path_factory.mktemp("vitrine"), None) as server:
        yield server


@pytest.fixture(scope="session")
def image_url() -> str:
    """Where the server behind the Identity server is, or will be."""
    return os.environ.get("VITRINE_TEST_KEYSTONE_ENDPOINT") or f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="session")
def keystone(tmp_path_factory, image_url):
    """The Identity server, filled, with `image_url` in its catalog."""
    port = int(os.environ.get("VITRINE_TEST_KEYSTONE_PORT", "0")) or free_port()
    server = Keystone(tmp_path_factory.mktemp("keystone"), setting("VITRINE_TEST_IDENTITY"), port)
    try:
        server.start(image_url)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def secured(tmp_path_factory, keystone, image_url):
    """Our server behind the Identity server."""
    if "VITRINE_TEST_KEYSTONE_ENDPOINT" in os.environ:
        yield Server(image_url, image_url, None, None)
        return
    with running(tmp_path_factory.mktemp("secured"), keystone_config(keystone), int(image_url.rpartition(":")[2])) as server:
        yield server
    assert PASSWORD not in server.process.text(), "the service's password is in the log"


def keystone_config(keystone: Keystone) -> str:
    """A configuration behind the Identity server."""
    return KEYSTONE_CONFIG.format(url=keystone.url, password=PASSWORD)


def stores_config(home: pathlib.Path, stores: dict[str, str]) -> str:
    """A configuration with these stores, by name and type; the first is the default."""
    enabled = ", ".join(f"{name}:{kind}" for name, kind in stores.items())
    config = f"[DEFAULT]\nenabled_backends = {enabled}\n[glance_store]\ndefault_backend = {next(iter(stores))}\n"
    files = [name for name, kind in stores.items() if kind == "file"]
    return config + "".join(f"[{name}]\nfilesystem_store_datadir = {home}/{name}\n" for name in files)


# What `origin` serves.
DATA = os.urandom(700_003)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="session")
def origin(tmp_path_factory):
    """A web server with an image in it, under two names; its address."""
    files = tmp_path_factory.mktemp("origin")
    for name in ("image", "other"):
        (files / name).write_bytes(DATA)
    handler = functools.partial(Handler, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


# Where `stores` is in the catalog.
STORES_REGION = "Stores"


@pytest.fixture(scope="session")
def stores(tmp_path_factory, keystone, secured, origin):
    """Our server behind the Identity server, with two stores of files and one of the web, and every method of import: from `origin`, and
    from the region of `secured`."""
    home = tmp_path_factory.mktemp("stores")
    config = keystone_config(keystone) + stores_config(home, {"fast": "file", "slow": "file", "web": "http"})
    ports = ",".join(url.rpartition(":")[2] for url in (origin, secured.url))
    config += f"""\
[fast]
store_description = quick
weight = 10
[DEFAULT]
enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]
show_multiple_locations = True
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{ports}]
"""
    with running(home, config) as server:
        keystone.add_images(STORES_REGION, server.url)
        yield server


@pytest.fixture
def ask_stores(keystone):
    """A command of somebody who asks `stores`."""
    return lambda name, user="demo-member": Command(name, {**keystone.client_environment(user), "OS_REGION_NAME": STORES_REGION})


def stored(server: Server, store: str, image: str) -> bytes:
    """What a store of `stores` has of an image."""
    return (server.data.parent / store / image).read_bytes()


class Command:
    """A command-line client of the virtual environment, with the settings that say who it is."""

    def __init__(self, name: str, settings: dict[str, str]) -> None:
        self.path = pathlib.Path(sys.executable).with_name(name)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        self.environment = {**kept, **settings, "PYTHONWARNINGS": "ignore"}

    def run(self, *arguments) -> subprocess.CompletedProcess:
        # A terminal, as a person has: any other standard input is taken as the data of a new image.
        controller, terminal = os.openpty()
        try:
            return subprocess.run(
                [str(self.path), *map(str, arguments)],
                stdin=terminal,
                capture_output=True,
                env=self.environment,
                check=False,
                timeout=300,
            )
        finally:
            os.close(controller)
            os.close(terminal)

    def __call__(self, *arguments) -> bytes:
        """What it prints; it must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout

    def fails(self, *arguments) -> str:
        """What it says when it fails, which it must."""
        done = self.run(*arguments)
        assert done.returncode != 0, f"{arguments} succeeded: {done.stdout.decode()}"
        return done.stderr.decode() + done.stdout.decode()


@pytest.fixture(scope="session")
def tool():
    """A program of the system, which must be there."""

    def find(name: str, *arguments, **options) -> str:
        path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        assert path, f"{name} is not installed"
        done = subprocess.run([path, *map(str, arguments)], capture_output=True, check=False, **options)
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout!r} {done.stderr!r}"
        return done.stdout.decode()

    return find


def made(output: bytes) -> str:
    """The id in a table of the `glance` command."""
    return next(line.split("|")[2].strip() for line in output.decode().splitlines() if line.startswith("| id "))


def digest(data: bytes, name: str = "sha512") -> str:
    return hashlib.new(name, data).hexdigest()
