"""A real Identity server for the tests: started on loopback with SQLite, and filled with projects and users."""

import dataclasses
import os
import pathlib
import subprocess

import requests

from processes import Process, free_port, wait_for_http

PASSWORD = "secret"
REGION = "RegionOne"
# Seconds that a token of the second instance lives.
SHORT_LIFE = 5

# User: project and roles there. The roles are listed in full, as Keystone's implied roles would give them.
USERS = {
    "admin": ("admin", ["admin", "member", "reader"]),
    "demo-admin": ("demo", ["admin", "member", "reader"]),
    "demo-member": ("demo", ["member", "reader"]),
    "demo-reader": ("demo", ["reader"]),
    "alt-member": ("alt", ["member", "reader"]),
    "glance": ("service", ["service", "admin"]),
    # Other services, of which one stands in a project of users.
    "cinder": ("service", ["service"]),
    "demo-service": ("demo", ["service"]),
}

CONFIG = """\
[database]
connection = sqlite:///{home}/keystone.sqlite
[token]
expiration = {expiration}
[fernet_tokens]
key_repository = {home}/fernet
[credential]
key_repository = {home}/credential
[identity]
# The cheapest that is allowed: these are no secrets.
password_hash_rounds = 4
"""


@dataclasses.dataclass
class Keystone:
    """A running Identity server."""

    home: pathlib.Path
    environment: pathlib.Path
    port: int
    processes: list[Process] = dataclasses.field(default_factory=list)
    projects: dict[str, str] = dataclasses.field(default_factory=dict)
    users: dict[str, str] = dataclasses.field(default_factory=dict)
    # The service that limits of images belong to.
    image_service: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    def start(self, image_url: str) -> None:
        """Starts it and fills it, with `image_url` in the catalog."""
        for name in ("fernet", "credential"):
            (self.home / name).mkdir(mode=0o700)
        config = self.write_config("keystone.conf", 3600)
        owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
        self.manage(config, "db_sync")
        self.manage(config, "fernet_setup", *owner)
        self.manage(config, "credential_setup", *owner)
        urls = [word for kind in ("public", "internal", "admin") for word in (f"--bootstrap-{kind}-url", self.url)]
        self.manage(config, "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", REGION, *urls)
        self.serve(config, self.port)
        self.fill(image_url)

    def stop(self) -> None:
        for process in self.processes:
            process.stop()

    def write_config(self, name: str, expiration: int) -> pathlib.Path:
        path = self.home / name
        path.write_text(CONFIG.format(home=self.home, expiration=expiration))
        return path

    def manage(self, config: pathlib.Path, *arguments: str) -> None:
        command = [self.environment / "bin/keystone-manage", "--config-file", config, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"keystone-manage {arguments[0]}: {done.stderr}"

    def serve(self, config: pathlib.Path, port: int) -> None:
        script = pathlib.Path(__file__).with_name("identity_server.py")
        process = Process(
            [self.environment / "bin/python", script, str(port)],
            self.home / f"{config.stem}.log",
            {"OS_KEYSTONE_CONFIG_FILES": str(config)},
        )
        self.processes.append(process)
        wait_for_http(f"http://127.0.0.1:{port}/v3", process)

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        headers = {"X-Auth-Token": self.token("admin", "admin")}
        reply = requests.request(method, self.url + path, json=body, headers=headers, timeout=30)
        assert reply.ok, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else {}

    def fill(self, image_url: str) -> None:
        listed = self.call("GET", "/roles")["roles"]
        roles = {role["name"]: role["id"] for role in listed}
        self.projects = {each["name"]: each["id"] for each in self.call("GET", "/projects")["projects"]}
        self.users = {each["name"]: each["id"] for each in self.call("GET", "/users")["users"]}
        for user, (project, names) in USERS.items():
            if project not in self.projects:
                made = self.call("POST", "/projects", {"project": {"name": project, "domain_id": "default"}})
                self.projects[project] = made["project"]["id"]
            if user not in self.users:
                new = {"name": user, "password": PASSWORD, "domain_id": "default"}
                self.users[user] = self.call("POST", "/users", {"user": new})["user"]["id"]
            for name in names:
                place = f"/projects/{self.projects[project]}/users/{self.users[user]}"
                self.call("PUT", f"{place}/roles/{roles[name]}")
        # Whoever enforces limits may read those of all projects.
        self.call("PUT", f"/system/users/{self.users['glance']}/roles/{roles['reader']}")
        service = self.call("POST", "/services", {"service": {"type": "image", "name": "glance"}})["service"]
        self.image_service = service["id"]
        self.add_images(REGION, image_url)

    def add_images(self, region: str, url: str) -> None:
        """Has an Image service at `url` in the catalog, in `region`, which is made if it is another one."""
        if region != REGION:
            self.call("POST", "/regions", {"region": {"id": region}})
        for interface in ("public", "internal", "admin"):
            endpoint = {"service_id": self.image_service, "interface": interface, "region_id": region, "url": url}
            self.call("POST", "/endpoints", {"endpoint": endpoint})

    def set_limits(self, registered: dict[str, int], projects: dict[str, dict[str, int]] | None = None) -> None:
        """Has these limits, and no others, for images: of all projects, and of some by their names."""
        for kind in ("limits", "registered_limits"):
            for each in self.call("GET", f"/{kind}?service_id={self.image_service}")[kind]:
                self.call("DELETE", f"/{kind}/{each['id']}")
        ours = {"service_id": self.image_service, "region_id": REGION}
        if registered:
            new = [{**ours, "resource_name": name, "default_limit": limit} for name, limit in registered.items()]
            self.call("POST", "/registered_limits", {"registered_limits": new})
        for project, limits in (projects or {}).items():
            ours["project_id"] = self.projects[project]
            new = [{**ours, "resource_name": name, "resource_limit": limit} for name, limit in limits.items()]
            self.call("POST", "/limits", {"limits": new})

    def token(self, user: str, project: str | None = None, port: int | None = None) -> str:
        """A new token of a user, scoped to its project, from the instance on `port`."""
        who = {"name": user, "domain": {"id": "default"}, "password": PASSWORD}
        scope = {"project": {"name": project or USERS[user][0], "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
        reply = requests.post(f"http://127.0.0.1:{port or self.port}/v3/auth/tokens", json=body, timeout=30)
        assert reply.status_code == 201, reply.text
        return reply.headers["X-Subject-Token"]

    def short_token(self, user: str) -> str:
        """A token that ends SHORT_LIFE seconds from now: of a second instance on the same keys and database."""
        port = free_port()
        self.serve(self.write_config("short.conf", SHORT_LIFE), port)
        token = self.token(user, port=port)
        self.processes.pop().stop()
        return token

    def revoke(self, token: str) -> None:
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        reply = requests.delete(f"{self.url}/auth/tokens", headers=headers, timeout=30)
        assert reply.status_code == 204, reply.text

    def connect(self, user: str):
        """An openstacksdk connection as a user."""
        # Not every environment that starts this server has the library.
        import openstack

        names = self.client_environment(user)
        return openstack.connect(
            load_yaml_config=False,
            auth_url=names["OS_AUTH_URL"],
            username=names["OS_USERNAME"],
            password=names["OS_PASSWORD"],
            project_name=names["OS_PROJECT_NAME"],
            user_domain_id="default",
            project_domain_id="default",
            region_name=names["OS_REGION_NAME"],
        )

    def session(self, user: str):
        """A session of keystoneauth1 as a user."""
        # Not every environment that starts this server has the library.
        from keystoneauth1 import session
        from keystoneauth1.identity import v3

        names = self.client_environment(user)
        known = {name: names[f"OS_{name.upper()}"] for name in ("auth_url", "username", "password", "project_name")}
        return session.Session(auth=v3.Password(**known, user_domain_id="default", project_domain_id="default"))

    def client_environment(self, user: str) -> dict[str, str]:
        """The OS_* variables with which a command-line client acts as a user."""
        return {
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": USERS[user][0],
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_REGION_NAME": REGION,
        }
