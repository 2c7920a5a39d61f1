"""Real images of every format (`tests/fuzz/images`), uploaded and imported: the verdicts are those of Glance's own code."""

import json
import pathlib
import subprocess

import pytest

from conftest import OCTETS, running, setting

HERE = pathlib.Path(__file__).parent

# What docs/differences.md lists: files, and what Vitrine says of them in all claims.
STRICTER = {"flat.vmdk": "Image failed safety checks"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, list]:
    """By its path what the maker of each says: the format, the size of the disk, the check that fails."""
    home = tmp_path_factory.mktemp("images")
    table = subprocess.run([HERE.parent / "fuzz/images", home], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in table.splitlines()]
    assert {"iso", "gpt", "luks", "vhdx", "vdi", "qed", "-"} <= {row[1] for row in rows}, table
    return {home / row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def glance(samples) -> dict:
    """What Glance's code says of each, by the name of the file: see glance_formats.py."""
    command = [setting("VITRINE_TEST_GLANCE") / "bin/python", HERE / "glance_formats.py", *samples]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory, glance):
    """A server that takes a claim of any format that is known at all."""
    claims = next(iter(glance.values()))["claims"]
    with running(tmp_path_factory.mktemp("formats"), f"[image_format]\ndisk_formats = {','.join(claims)}\n") as server:
        yield server


def test_the_makers_and_glance_agree_on_what_they_are(samples, glance):
    for path, (kind, size, check) in samples.items():
        found = glance[path.name]["formats"]
        if path.name in STRICTER:
            continue
        if kind == "-":
            assert len(found) > 1 and set(found) != {"iso", "gpt"}, found
            continue
        # In front of an ISO there may be a partition table.
        assert set(found) in ({kind}, {kind, "gpt"} if kind == "iso" else {kind}), (path.name, found)
        assert size in ("-", str(found[kind]["size"])), (path.name, found)
        assert found[kind]["failures"] == ([] if check == "safe" else [check]), (path.name, found)
    tables = [set(each["formats"]) == {"iso", "gpt"} for each in glance.values()]
    assert any(tables), "an isohybrid image"


def expected(name: str, verdict: dict) -> tuple:
    """Why an upload is refused, or None; and the size of the disk."""
    if name in STRICTER:
        return STRICTER[name], None
    return in_order(verdict["refused"]), verdict["virtual_size"]


def in_order(message: str | None) -> str | None:
    """Glance names formats in any order."""
    if message is None or "Multiple formats" not in message:
        return message
    head, names = message.split(": ")
    return f"{head}: {','.join(sorted(names.split(',')))}"


def claims(path: pathlib.Path, kind: str) -> set[str]:
    """What is claimed of a file: the truth, nothing, something that nobody can look into, and something else."""
    other = "iso" if kind != "iso" else "gpt"
    return {"raw", "ami", other, *([] if kind == "-" else [kind])}


def test_uploads_are_judged_as_glance_judges_them(samples, glance, server):
    for path, (kind, _, _) in samples.items():
        for claim in claims(path, kind):
            refused, size = expected(path.name, glance[path.name]["claims"][claim])
            image = server.create(disk_format=claim)["id"]
            with path.open("rb") as data:
                reply = server.request("PUT", f"/v2/images/{image}/file", data=data, headers=OCTETS)
            shown = server.show(image)
            case = (path.name, claim, reply.status_code, reply.text, shown["virtual_size"])
            if refused is None:
                assert (reply.status_code, shown["status"], shown["size"]) == (204, "active", path.stat().st_size), case
            else:
                assert (reply.status_code, shown["status"], shown["size"]) == (415, "queued", None), case
                if path.name not in STRICTER:
                    assert refused in {in_order(line) for line in lines(reply.text)}, (refused, *case)
            assert shown["virtual_size"] == size, (size, *case)
            server.request("DELETE", f"/v2/images/{image}")


def lines(page: str) -> list[str]:
    """The texts of an error's page."""
    return [line.strip() for line in page.replace("<br />", "\n").splitlines()]


def test_imports_are_judged_alike(samples, glance, server):
    begun = []
    for path, (kind, _, _) in samples.items():
        for claim in sorted({"raw", "raw" if kind == "-" else kind}):
            image = server.create(disk_format=claim)["id"]
            with path.open("rb") as data:
                reply = server.request("PUT", f"/v2/images/{image}/stage", data=data, headers=OCTETS)
            assert reply.status_code == 204, reply.text
            reply = server.request("POST", f"/v2/images/{image}/import", json={"method": {"name": "glance-direct"}})
            assert reply.status_code == 202, reply.text
            begun.append((path, claim, image))
    for path, claim, image in begun:
        refused, size = expected(path.name, glance[path.name]["claims"][claim])
        shown = server.settled(image)
        [task] = server.get(f"/v2/images/{image}/tasks").json()["tasks"]
        case = (path.name, claim, task["status"], task["message"], shown["virtual_size"])
        if refused is None:
            assert (task["status"], shown["status"]) == ("success", "active"), case
        else:
            assert (task["status"], shown["status"], shown["size"]) == ("failure", "queued", None), case
            assert in_order(task["message"]) == refused or path.name in STRICTER, (refused, *case)
        assert shown["virtual_size"] == size, (size, *case)
        server.request("DELETE", f"/v2/images/{image}")
