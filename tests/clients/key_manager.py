"""A real key manager for the tests: Barbican on loopback, with SQLite, behind the Identity server."""

import base64
import datetime
import pathlib

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from identity import PASSWORD, Keystone
from processes import Process, free_port, wait_for_http

CONFIG = """\
[DEFAULT]
host_href = {url}
db_auto_create = True
[database]
connection = sqlite:///{home}/barbican.sqlite
[queue]
enable = False
[secretstore]
enabled_secretstore_plugins = store_crypto
[crypto]
enabled_crypto_plugins = simple_crypto
[simple_crypto_plugin]
kek = dGhpcnR5X3R3b19ieXRlX2tleV9mb3JfdGhlX3Rlc3Q=
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
"""

# The released pipeline without the layers that read files of /etc.
PASTE = """\
[composite:main]
use = egg:Paste#urlmap
/: versions
/v1: v1
[pipeline:versions]
pipeline = microversion version
[app:version]
paste.app_factory = barbican.api.app:create_version_app
[pipeline:v1]
pipeline = authtoken context microversion api
[app:api]
paste.app_factory = barbican.api.app:create_main_app
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
oslo_config_project = barbican
oslo_config_file = {config}
[filter:context]
paste.filter_factory = barbican.api.middleware.context:ContextMiddleware.factory
[filter:microversion]
paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory
"""


class Barbican:
    """A running key manager."""

    def __init__(self, home: pathlib.Path, environment: pathlib.Path, keystone: Keystone) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = home / ".barbican/barbican.conf"
        config.parent.mkdir(parents=True)
        config.write_text(CONFIG.format(home=home, url=self.url, keystone=keystone.url, password=PASSWORD))
        paste = home / "paste.ini"
        paste.write_text(PASTE.format(config=config))
        script = pathlib.Path(__file__).with_name("key_manager_server.py")
        command = [environment / "bin/python", script, port, paste]
        self.process = Process(command, home / "barbican.log", {"HOME": str(home)})
        try:
            wait_for_http(f"{self.url}/v1/secrets", self.process)
        except BaseException:
            self.process.stop()
            raise

    def put(self, token: str, payload: bytes, kind: str = "certificate") -> str:
        """Takes a secret in; its id."""
        body = {
            "secret_type": kind,
            "payload": base64.b64encode(payload).decode(),
            "payload_content_type": "application/octet-stream",
            "payload_content_encoding": "base64",
        }
        reply = requests.post(f"{self.url}/v1/secrets", json=body, headers={"X-Auth-Token": token}, timeout=30)
        assert reply.status_code == 201, reply.text
        return reply.json()["secret_ref"].rpartition("/")[2]

    def stop(self) -> None:
        self.process.stop()


def certify(key) -> bytes:
    """A certificate of a key, by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a signer")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    made = made.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)
