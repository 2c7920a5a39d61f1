#!/usr/bin/env python3
"""Images in Ceph: Vitrine beside `rbd export`, `rbd import` and Glance's own driver, and `vitrine bench store` beside `rbd bench`, on one
pool and in turns.

    benches/rbd/run.py [--rounds N] [--mib N] [--vitrine FILE] [--json FILE]

A cluster in memory is started for it (tests/stores/ceph: Debian's ceph-mon, ceph-osd, ceph-common). Glance's driver runs in the
environment that tests/run or perf/run has made; without it that row is left out, and said so. Prints the medians of all rounds, with the
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
    ("download", "cpu", "<=", 0.50, "glance's driver, get"),
    ("upload", "rate", ">=", 0.95, "rbd import or digest"),
    ("bench store, write", "rate", "~", 0.10, "rbd bench, write"),
    ("bench store, read", "rate", "~", 0.10, "rbd bench, read"),
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def cluster(directory: pathlib.Path):
    """A Ceph cluster; its ceph.conf."""
    script = subprocess.Popen([ROOT / "tests/stores/ceph", directory, str(free_port())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if script.stdout.readline() != "ready\n":
            sys.exit("benches/rbd: no cluster: see tests/stores/ceph")
        yield directory / "ceph.conf"
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


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its children, which live."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(cpu_of(int(child)) for child in children)


class Bench:
    """One pool, one file, and everybody who moves it."""

    def __init__(self, work: pathlib.Path, ceph_conf: pathlib.Path, conf: pathlib.Path, port: int, pid: int, options) -> None:
        self.work, self.ceph_conf, self.conf, self.port, self.pid, self.options = work, ceph_conf, conf, port, pid, options
        self.file = work / "image"
        self.bytes = options.mib * MIB
        generator = random.Random(1)
        with open(self.file, "wb") as file:
            for _ in range(options.mib):
                file.write(generator.randbytes(MIB))
        self.rows = Rows()

    def note(self, name: str, seconds: float, cpu: float | None) -> None:
        """A row of a whole image."""
        self.rows.note(name, self.bytes, seconds, cpu)

    def rbd(self, *arguments) -> list:
        return ["rbd", "-c", self.ceph_conf, *arguments]

    def ask(self, method: str, path: str, body=None, kind: str = "application/json") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, {"Content-Type": kind})
        return connection.getresponse()

    def upload(self) -> str:
        """Vitrine's turn to write; the image."""
        image = json.loads(self.ask("POST", "/v2/images", '{"disk_format": "raw", "container_format": "bare"}').read())["id"]
        before = cpu_of(self.pid)
        url = f"http://127.0.0.1:{self.port}/v2/images/{image}/file"
        seconds, _, _ = run(["curl", "-sS", "--fail", "-T", self.file, "-H", "Content-Type: application/octet-stream", url])
        self.note("upload", seconds, cpu_of(self.pid) - before)
        return image

    def download(self, image: str) -> None:
        before = cpu_of(self.pid)
        seconds, _, _ = run(["curl", "-sS", "--fail", "-o", "/dev/null", f"http://127.0.0.1:{self.port}/v2/images/{image}/file"])
        self.note("download", seconds, cpu_of(self.pid) - before)

    def delete(self, image: str) -> None:
        answer = self.ask("DELETE", f"/v2/images/{image}")
        assert answer.status == 204, answer.read()
        while self.ask("GET", f"/v2/images/{image}").status != 404 or image in run(self.rbd("ls", POOL))[2]:
            time.sleep(0.1)

    def rbd_import(self) -> None:
        seconds, cpu, _ = run(self.rbd("import", "--no-progress", "--object-size", f"{OBJECT_MIB}M", self.file, f"{POOL}/imported"))
        self.note("rbd import", seconds, cpu)
        run(self.rbd("rm", "--no-progress", f"{POOL}/imported"))

    def rbd_export(self, image: str) -> None:
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
        _, _, said = run([python, ROOT / "tests/stores/glance_rbd.py", self.ceph_conf, POOL, "time", url])
        seconds, cpu = map(float, said.split()[-2:])
        self.note("glance's driver, get", seconds, cpu)

    def benches(self) -> None:
        """The same work by `vitrine bench store` and by `rbd bench`: one worker, one image, as many bytes on their way."""
        report = self.work / "bench.json"
        size = self.options.mib
        arguments = ["bench", "store", "--config", self.conf, "--data-dir", self.work / "bench", "--work", "write,read,delete"]
        run([self.options.vitrine, *arguments, "--size", f"{size}MiB", "--objects", "1", "--parallel", "1", "--json", report])
        for name, row in bench_store(json.loads(report.read_text())).items():
            self.note(f"bench store, {name}", self.bytes / MIB / row, None)
        run(self.rbd("create", "--size", f"{size}M", "--object-size", f"{OBJECT_MIB}M", f"{POOL}/bench"))
        # `rbd bench` counts until everything is on the disk.
        load = ["--io-size", "4M", "--io-threads", "4", "--io-total", f"{size}M", "--io-pattern", "seq", f"{POOL}/bench"]
        for kind in ("write", "read"):
            _, _, said = run(self.rbd("bench", "--io-type", kind, *load))
            words = said.split("ops/sec:")[-1]
            rate = float(words.split("bytes/sec:")[1].split()[0].replace("MiB/s", "")) if "bytes/sec:" in words else 0.0
            unit = words.split("bytes/sec:")[1].split()[1] if "bytes/sec:" in words else ""
            rate *= {"GiB/s": 1024, "MiB/s": 1, "KiB/s": 1 / 1024}.get(unit, 1)
            self.note(f"rbd bench, {kind}", self.bytes / MIB / rate, None)
        run(self.rbd("rm", "--no-progress", f"{POOL}/bench"))

    def round(self) -> None:
        """Everybody's turn."""
        self.rbd_import()
        self.digests()
        image = self.upload()
        self.rbd_export(image)
        self.download(image)
        self.driver(image)
        self.delete(image)
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
        with cluster(work / "ceph") as ceph_conf, service(options.vitrine, work, ceph_conf) as (conf, port, pid):
            bench = Bench(work, ceph_conf, conf, port, pid, options)
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
                bench.round()
    sys.exit(1 if bench.rows.report(PROMISES, options.json) else 0)


if __name__ == "__main__":
    main()
