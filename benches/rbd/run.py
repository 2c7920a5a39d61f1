#!/usr/bin/env python3
"""Images in Ceph: Vitrine beside `rbd export`, `rbd import`, Glance and its driver alone, and `vitrine bench store` beside `rbd bench` and
fio, on one pool and in turns.

    benches/rbd/run.py [--rounds N] [--mib N] [--vitrine FILE] [--json FILE]

A cluster in memory is started for it (tests/stores/ceph: Debian's ceph-mon, ceph-osd, ceph-common). Glance, whole and its driver alone, runs in
the environment that tests/run or perf/run has made; without it those rows are left out, and said so. Prints the medians of all rounds, with the
CPU seconds per GiB of what is compared; the cluster's own are in none of them.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))

from side_by_side import MIB, Rows, bench_store, run  # noqa: E402

HOME = pathlib.Path(os.environ.get("VITRINE_TEST_HOME") or pathlib.Path.home() / ".cache/vitrine-tests")
POOL = "images-0"
# Vitrine's and Ceph's own default.
OBJECT_MIB = 8
TICKS = os.sysconf("SC_CLK_TCK")

# What a row keeps, and of what: rate against rate, or CPU seconds per GiB against those of another.
PROMISES = [
    ("download", "rate", ">=", 0.95, "rbd export"),
    ("download", "cpu", "<=", 0.50, "glance, download"),
    ("upload", "rate", ">=", 0.95, "rbd import or digest"),
    ("bench store, write", "rate", "~", 0.10, "fio, write"),
    ("bench store, read", "rate", "~", 0.10, "fio, read"),
    ("bench store, write", "rate", "~", 0.10, "rbd bench, write"),
    ("bench store, read", "rate", "~", 0.10, "rbd bench, read"),
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def cluster(directory: pathlib.Path):
    """A Ceph cluster: its ceph.conf, and the process whose children are its servers."""
    script = subprocess.Popen([ROOT / "tests/stores/ceph", directory, str(free_port())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if script.stdout.readline() != "ready\n":
            sys.exit("benches/rbd: no cluster: see tests/stores/ceph")
        yield directory / "ceph.conf", script.pid
    finally:
        script.stdin.close()
        script.wait()


@contextlib.contextmanager
def service(binary: pathlib.Path, work: pathlib.Path, ceph_conf: pathlib.Path):
    """Vitrine with the pool as its store: its configuration, its address and the process."""
    conf = work / "vitrine.conf"
    conf.write_text(
        "[DEFAULT]\nenabled_backends = ceph:rbd\n[glance_store]\ndefault_backend = ceph\n"
        f"[ceph]\nrbd_store_ceph_conf = {ceph_conf}\nrbd_store_user = glance\nrbd_store_pool = {POOL}\nrbd_store_chunk_size = {OBJECT_MIB}\n"
    )
    port = free_port()
    arguments = [binary, "serve", "--config", conf, "--data-dir", work / "data", "--listen", f"127.0.0.1:{port}"]
    with open(work / "log", "w") as log:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        if "ready" not in process.stdout.readline():
            sys.exit(f"benches/rbd: Vitrine does not start: {(work / 'log').read_text()}")
        yield conf, port, process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def glance(work: pathlib.Path, ceph_conf: pathlib.Path):
    """The real Glance with the pool as its store, a process per core under uWSGI: its port and its process; nothing where there is none."""
    home = HOME / "glance"
    if not (home / "bin/uwsgi").exists():
        yield None
        return
    directory = work / "glance"
    modules = directory / "modules"
    modules.mkdir(parents=True)
    # Ceph's modules are Debian's, and not in this environment; just these two are taken from there.
    for name in ("rados", "rbd"):
        for module in pathlib.Path("/usr/lib/python3/dist-packages").glob(f"{name}.cpython-*.so"):
            (modules / module.name).symlink_to(module)
    (directory / "glance-api.conf").write_text(
        f"[DEFAULT]\nenabled_backends = ceph:rbd\nnode_staging_uri = file://{directory}/staging\n"
        f"[database]\nconnection = sqlite:///{directory}/glance.sqlite\n[glance_store]\ndefault_backend = ceph\n"
        f"[ceph]\nrbd_store_ceph_conf = {ceph_conf}\nrbd_store_user = glance\nrbd_store_pool = {POOL}\nrbd_store_chunk_size = {OBJECT_MIB}\n"
        f"[os_glance_staging_store]\nfilesystem_store_datadir = {directory}/staging\n[os_glance_tasks_store]\nfilesystem_store_datadir = {directory}/tasks\n"
        f"[oslo_concurrency]\nlock_path = {directory}\n[oslo_policy]\nenforce_new_defaults = False\n"
        f"[paste_deploy]\nconfig_file = {home}/etc/glance/glance-api-paste.ini\n"
    )
    for name in ("staging", "tasks"):
        (directory / name).mkdir()
    run([home / "bin/glance-manage", "--config-file", directory / "glance-api.conf", "db_sync"])
    port = free_port()
    arguments = [home / "bin/uwsgi", "--module", "glance.wsgi.api:application", "--need-app", "--lazy-apps", "--http-socket", f"127.0.0.1:{port}"]
    arguments += ["--add-header", "Connection: close", "--master", "--die-on-term", "--enable-threads", "--thunder-lock", "--disable-logging"]
    arguments += ["--processes", str(os.cpu_count()), "--socket-timeout", "60", "--buffer-size", "65535", "--virtualenv", home]
    environment = os.environ | {"OS_GLANCE_CONFIG_DIR": str(directory), "PYTHONPATH": str(modules)}
    with open(directory / "log", "w") as log:
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET /healthcheck HTTP/1.0\r\n\r\n")
                if b" 200 " in connection.recv(64):
                    break
            time.sleep(0.1)
        else:
            sys.exit(f"benches/rbd: Glance does not start: {(directory / 'log').read_text()}")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its children, which live."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(cpu_of(int(child)) for child in children)


class Bench:
    """One pool, one file, and everybody who moves it."""

    def __init__(self, work: pathlib.Path, ceph: tuple[pathlib.Path, int], conf: pathlib.Path, ours, glances, options) -> None:
        """`ceph`: configuration and process of the cluster; `ours` and `glances`: port and process of Vitrine and of Glance, if it is there."""
        self.work, self.conf, self.options = work, conf, options
        self.ceph_conf, self.servers = ceph
        self.services = {"": ours} | ({"glance, ": glances} if glances else {})
        self.file = work / "image"
        self.bytes = options.mib * MIB
        generator = random.Random(1)
        with open(self.file, "wb") as file:
            for _ in range(options.mib):
                file.write(generator.randbytes(MIB))
        self.rows = Rows()

    def settled(self) -> None:
        """Waits, not for ever, until the cluster has nothing left to do of what was asked of it before, like removing an image."""
        for _ in range(40):
            before = cpu_of(self.servers)
            time.sleep(0.25)
            if cpu_of(self.servers) - before <= 0.02:
                return

    def note(self, name: str, seconds: float, cpu: float | None) -> None:
        """A row of a whole image."""
        self.rows.note(name, self.bytes, seconds, cpu)

    def rbd(self, *arguments) -> list:
        return ["rbd", "-c", self.ceph_conf, *arguments]

    def ask(self, who: str, method: str, path: str, body=None, kind: str = "application/json") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.services[who][0])
        connection.request(method, path, body, {"Content-Type": kind})
        return connection.getresponse()

    def moved(self, who: str, row: str, image: str, *how) -> None:
        """A row of what `curl` moves."""
        port, pid = self.services[who]
        self.settled()
        before = cpu_of(pid)
        seconds, _, _ = run(["curl", "-sS", "--fail", *how, f"http://127.0.0.1:{port}/v2/images/{image}/file"])
        self.note(who + row, seconds, cpu_of(pid) - before)

    def upload(self, who: str) -> str:
        """Somebody's turn to write; the image."""
        image = json.loads(self.ask(who, "POST", "/v2/images", '{"disk_format": "raw", "container_format": "bare"}').read())["id"]
        self.moved(who, "upload", image, "-T", self.file, "-H", "Content-Type: application/octet-stream")
        return image

    def download(self, who: str, image: str) -> None:
        self.moved(who, "download", image, "-o", "/dev/null")

    def delete(self, who: str, image: str) -> None:
        answer = self.ask(who, "DELETE", f"/v2/images/{image}")
        assert answer.status == 204, answer.read()
        while self.ask(who, "GET", f"/v2/images/{image}").status != 404 or image in run(self.rbd("ls", POOL))[2]:
            time.sleep(0.1)

    def rbd_import(self) -> None:
        self.settled()
        seconds, cpu, _ = run(self.rbd("import", "--no-progress", "--object-size", f"{OBJECT_MIB}M", self.file, f"{POOL}/imported"))
        self.note("rbd import", seconds, cpu)
        run(self.rbd("rm", "--no-progress", f"{POOL}/imported"))

    def rbd_export(self, image: str) -> None:
        self.settled()
        seconds, cpu, _ = run(self.rbd("export", "--no-progress", f"{POOL}/{image}@snap", "-"), stdout=subprocess.DEVNULL)
        self.note("rbd export", seconds, cpu)

    def digests(self) -> None:
        """Each digest of an upload alone, by OpenSSL: the slower one is the limit of a single stream."""
        rates = []
        for name in ("md5", "sha512"):
            begun, digest = time.monotonic(), hashlib.new(name)
            with open(self.file, "rb") as file:
                while piece := file.read(MIB):
                    digest.update(piece)
            rates.append(time.monotonic() - begun)
        self.note("slower digest alone", max(rates), None)
        limit = max(max(rates), self.bytes / MIB / self.rows.last("rbd import"))
        self.note("rbd import or digest", limit, None)

    def driver(self, image: str) -> None:
        """Glance's own driver, without the rest of Glance: what it costs at least."""
        python = HOME / "glance/bin/python"
        if not python.exists():
            return
        url = f"rbd://{run(['ceph', '-c', self.ceph_conf, 'fsid'])[2].strip()}/{POOL}/{image}/snap"
        self.settled()
        _, _, said = run([python, ROOT / "tests/stores/glance_rbd.py", self.ceph_conf, POOL, "time", url])
        seconds, cpu = map(float, said.split()[-2:])
        self.note("glance's driver, get", seconds, cpu)

    def benches(self) -> None:
        """The same work by `vitrine bench store` and by `rbd bench`: one worker, one image, as many bytes on their way."""
        report = self.work / "bench.json"
        size = self.options.mib
        self.settled()
        arguments = ["bench", "store", "--config", self.conf, "--data-dir", self.work / "bench", "--work", "write,read,delete"]
        run([self.options.vitrine, *arguments, "--size", f"{size}MiB", "--objects", "1", "--parallel", "1", "--json", report])
        for name, row in bench_store(json.loads(report.read_text())).items():
            self.note(f"bench store, {name}", self.bytes / MIB / row, None)
        run(self.rbd("create", "--size", f"{size}M", "--object-size", f"{OBJECT_MIB}M", f"{POOL}/bench"))
        # `rbd bench` counts until everything is on the disk.
        load = ["--io-size", "4M", "--io-threads", "4", "--io-total", f"{size}M", "--io-pattern", "seq", f"{POOL}/bench"]
        for kind in ("write", "read"):
            self.settled()
            _, _, said = run(self.rbd("bench", "--io-type", kind, *load))
            words = said.split("ops/sec:")[-1]
            rate = float(words.split("bytes/sec:")[1].split()[0].replace("MiB/s", "")) if "bytes/sec:" in words else 0.0
            unit = words.split("bytes/sec:")[1].split()[1] if "bytes/sec:" in words else ""
            rate *= {"GiB/s": 1024, "MiB/s": 1, "KiB/s": 1 / 1024}.get(unit, 1)
            self.note(f"rbd bench, {kind}", self.bytes / MIB / rate, None)
        run(self.rbd("rm", "--no-progress", f"{POOL}/bench"))
        if shutil.which("fio"):
            run(self.rbd("create", "--size", f"{size}M", "--object-size", f"{OBJECT_MIB}M", f"{POOL}/bench"))
            # What it reads it has in its own memory, as we do; `rbd bench` keeps what the library has received.
            engine = ["--ioengine=rbd", "--clientname=glance", f"--pool={POOL}", "--rbdname=bench", "--bs=4m", "--iodepth=4", f"--size={size}m"]
            for kind in ("write", "read"):
                self.settled()
                _, _, said = run(["fio", "--name=bench", f"--rw={kind}", *engine, "--output-format=json"], env=os.environ | {"CEPH_CONF": str(self.ceph_conf)})
                job = json.loads(said[said.index("{") :])["jobs"][0][kind]
                self.note(f"fio, {kind}", self.bytes / job["bw_bytes"], None)
            run(self.rbd("rm", "--no-progress", f"{POOL}/bench"))

    def round(self) -> None:
        """Everybody's turn."""
        self.rbd_import()
        self.digests()
        for who in self.services:
            image = self.upload(who)
            if who == "":
                self.rbd_export(image)
                self.driver(image)
            self.download(who, image)
            self.delete(who, image)
        self.benches()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benches/rbd/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody has a turn")
    parser.add_argument("--mib", type=int, default=512, help="size of the image, MiB")
    parser.add_argument("--vitrine", type=pathlib.Path, default=ROOT / "target/release/vitrine", help="the binary")
    parser.add_argument("--json", type=pathlib.Path, help="where all figures go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitrine-rbd-") as work:
        work = pathlib.Path(work)
        with cluster(work / "ceph") as ceph, service(options.vitrine, work, ceph[0]) as (conf, *ours), glance(work, ceph[0]) as glances:
            if glances is None:
                print(f"without Glance: there is no {HOME}/glance (tests/run and perf/run make it)", file=sys.stderr)
            bench = Bench(work, ceph, conf, ours, glances, options)
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
                bench.round()
    sys.exit(1 if bench.rows.report(PROMISES, options.json) else 0)


if __name__ == "__main__":
    main()
