"""`vitrine bench` with tokens of a real Identity server."""

import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import urllib.parse

import pytest
import requests

from conftest import auth, setting
from identity import PASSWORD, REGION, SHORT_LIFE, USERS
from processes import free_port


@pytest.fixture(scope="module")
def project_token(keystone) -> str:
    return keystone.token("demo-member")


@pytest.fixture
def bench(tmp_path):
    """Runs `vitrine bench` with these variables and no others of OpenStack; what it prints, and its report."""

    def run(*arguments, code: int = 0, variables: dict[str, str] | None = None):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        report = tmp_path / "report.json"
        command = [setting("VITRINE_BINARY"), "bench", *arguments]
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=tmp_path,
            env={**kept, "HOME": str(tmp_path), **(variables or {})},
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        found = json.loads(report.read_text()) if report.exists() else None
        return done.stdout + done.stderr, found

    return run


LOAD = ("--count", "30", "--json", "report.json")


def images(server, token: str) -> list[dict]:
    """The images of loads that a user sees."""
    reply = server.get("/v2/images?limit=1000", headers=auth(token))
    return [image for image in reply.json()["images"] if (image["name"] or "").startswith("vitrine-bench-")]


def clouds(keystone, name: str = "demo", **more) -> str:
    user = "demo-member"
    cloud = {
        "auth": {
            "auth_url": keystone.url.removesuffix("/v3"),
            "username": user,
            "password": PASSWORD,
            "project_name": USERS[user][0],
            "user_domain_id": "default",
            "project_domain_name": "Default",
        },
        "region_name": REGION,
        "interface": "internal",
        **more,
    }
    # JSON is YAML.
    return json.dumps({"clouds": {name: cloud}})


def test_a_password_in_variables(bench, keystone, secured, project_token):
    text, report = bench("mixed", "--size", "1MiB", *LOAD, variables=keystone.client_environment("demo-member"))
    assert "with a token" in text and "none was wrong" in text
    assert report["endpoints"][0]["url"] == secured.url
    assert not images(secured, project_token)


def test_a_cloud_of_clouds_yaml(bench, keystone, secured, project_token, tmp_path):
    (tmp_path / "clouds.yaml").write_text(clouds(keystone))
    for load in ("pull", "push"):
        _, report = bench(load, "--size", "1MiB", "--os-cloud", "demo", *LOAD)
        assert report["endpoints"][0]["url"] == secured.url
    assert not images(secured, project_token)


def test_an_application_credential(bench, keystone, secured, project_token):
    user = keystone.users["demo-member"]
    body = {"application_credential": {"name": "bench"}}
    url = f"{keystone.url}/users/{user}/application_credentials"
    made = requests.post(url, json=body, headers=auth(project_token), timeout=30)
    assert made.status_code == 201, made.text
    credential = made.json()["application_credential"]
    variables = {
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_AUTH_URL": keystone.url,
        "OS_APPLICATION_CREDENTIAL_ID": credential["id"],
        "OS_APPLICATION_CREDENTIAL_SECRET": credential["secret"],
    }
    text, _ = bench("metadata", *LOAD, variables=variables)
    assert credential["secret"] not in text
    assert not images(secured, project_token)


def test_a_token_and_an_endpoint(bench, secured, project_token):
    variables = {"OS_TOKEN": project_token, "OS_ENDPOINT": secured.url}
    text, _ = bench("metadata", *LOAD, variables=variables)
    assert project_token not in text
    # Without a token, and with a wrong one.
    text, _ = bench("metadata", secured.url, "--no-auth", code=1)
    assert f"{secured.url} refuses the request (401)" in text
    text, _ = bench("metadata", code=1, variables={**variables, "OS_TOKEN": "nonsense"})
    assert "401" in text


def test_a_token_that_ends_is_renewed(bench, keystone, secured, project_token):
    port = free_port()
    keystone.serve(keystone.write_config("bench-short.conf", SHORT_LIFE), port)
    try:
        variables = {**keystone.client_environment("demo-member"), "OS_AUTH_URL": f"http://127.0.0.1:{port}/v3"}
        load = ("metadata", "--duration", f"{2 * SHORT_LIFE + 2}s", "--concurrency", "4", "--json", "report.json")
        _, report = bench(*load, variables=variables)
    finally:
        keystone.processes.pop().stop()
    assert all(not each["errors"] for each in report["endpoints"][0]["operations"])
    assert not images(secured, project_token)


@pytest.fixture
def encrypted(vitrine, tmp_path, tool):
    """Our server behind a proxy that ends TLS: its URL, and its certificate."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE")
    tool("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, "-keyout", key, "-out", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    target = urllib.parse.urlsplit(vitrine.url)

    def pump(source, sink) -> None:
        try:
            while piece := source.recv(1 << 16):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    class Proxy(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                client = context.wrap_socket(self.request, server_side=True)
            except (ssl.SSLError, OSError):
                return
            with client, socket.create_connection((target.hostname, target.port)) as server:
                other = threading.Thread(target=pump, args=(client, server), daemon=True)
                other.start()
                pump(server, client)

    class Proxies(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Proxies(("127.0.0.1", 0), Proxy) as proxies:
        threading.Thread(target=proxies.serve_forever, daemon=True).start()
        yield f"https://localhost:{proxies.server_address[1]}", certificate
        proxies.shutdown()


def test_an_encrypted_endpoint(bench, vitrine, encrypted):
    url, certificate = encrypted
    for trust in (("--cacert", certificate), ("--insecure",)):
        for load in ("pull", "push"):
            text, report = bench(load, url, "--size", "3MiB", "--concurrency", "2", *trust, *LOAD)
            assert "none was wrong" in text
            assert report["endpoints"][0]["url"] == url
    text, _ = bench("pull", url, code=1)
    assert "certificate" in text and "panicked" not in text, text
    assert not images(vitrine, "")


def test_what_is_wrong_is_told(bench, keystone, secured, tmp_path):
    variables = keystone.client_environment("demo-member")
    text, _ = bench("pull", code=1, variables={**variables, "OS_PASSWORD": "wrong"})
    assert "refuses 'demo-member' (401)" in text
    text, _ = bench("pull", code=1, variables={**variables, "OS_REGION_NAME": "Nowhere"})
    assert "no public endpoint of type image in region Nowhere" in text and f"public in region {REGION}" in text
    text, _ = bench("pull", code=1, variables={**variables, "OS_AUTH_URL": f"http://127.0.0.1:{free_port()}/v3"})
    assert "Keystone: connecting to" in text
    (tmp_path / "clouds.yaml").write_text(clouds(keystone))
    text, _ = bench("pull", "--os-cloud", "other", code=1)
    assert "there is no cloud 'other'" in text and "demo" in text


def test_clean_sees_only_what_the_user_may(bench, keystone, secured, project_token):
    made = secured.create(project_token, name="vitrine-bench-left-1", vitrine_bench="left")
    other = keystone.client_environment("alt-member")
    text, _ = bench("clean", variables=other)
    assert "0 images were deleted" in text
    text, _ = bench("clean", variables=keystone.client_environment("demo-member"))
    assert made["id"] in text and "1 images were deleted" in text
    assert not images(secured, project_token)
