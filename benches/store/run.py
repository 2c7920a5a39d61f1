#!/usr/bin/env python3
"""`vitrine bench store` beside `fio` where they measure the same thing: one file, written front to back past the page cache, then read so,
in blocks of 256 KiB with as many on their way, on the same disk and in turns.

    benches/store/run.py [--rounds N] [--mib N] [--depth N] [--vitrine FILE] [--directory DIR] [--json FILE]

Prints the medians of all rounds. Needs fio. A disk that is shared has fast and slow phases: more rounds tell more.
"""

import argparse
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))

from side_by_side import MIB, Rows, bench_store, run  # noqa: E402

PROMISES = [
    ("bench store, write", "rate", "~", 0.10, "fio, write"),
    ("bench store, read", "rate", "~", 0.10, "fio, read"),
]


def vitrine(rows: Rows, work: pathlib.Path, options) -> None:
    """Vitrine's turn."""
    conf, report = work / "vitrine.conf", work / "bench.json"
    conf.write_text(f"[glance_store]\nfilesystem_store_datadir = {work / 'images'}\n")
    what = ["--work", "write,read,delete", "--objects", "1", "--parallel", "1", "--size", f"{options.mib}MiB", "--depth", options.depth]
    run([options.vitrine, "bench", "store", "--config", conf, "--data-dir", work / "data", *what, "--json", report])
    for name, rate in bench_store(json.loads(report.read_text())).items():
        rows.note(f"bench store, {name}", options.mib * MIB, options.mib / rate)


def fio(rows: Rows, work: pathlib.Path, options) -> None:
    """fio's turn. It allocates the file before the clock runs; Vitrine does so while it runs, in a millisecond."""
    file = work / "fio"
    how = ["--ioengine=io_uring", "--direct=1", "--bs=256k", f"--iodepth={options.depth}", f"--size={options.mib}M", "--output-format=json"]
    for kind in ("write", "read"):
        _, _, said = run(["fio", f"--name={kind}", f"--filename={file}", f"--rw={kind}", *how])
        job = json.loads(said)["jobs"][0][kind]
        rows.note(f"fio, {kind}", job["io_bytes"], job["runtime"] / 1000)
    file.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benches/store/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often everybody has a turn")
    parser.add_argument("--mib", type=int, default=2048, help="size of the file, MiB")
    parser.add_argument("--depth", type=int, default=8, help="blocks on their way at once")
    parser.add_argument("--vitrine", type=pathlib.Path, default=ROOT / "target/release/vitrine", help="the binary")
    parser.add_argument("--directory", type=pathlib.Path, help="on the disk to measure; default: where temporary files go")
    parser.add_argument("--json", type=pathlib.Path, help="where all figures go")
    options = parser.parse_args()
    rows = Rows()
    with tempfile.TemporaryDirectory(prefix="vitrine-store-", dir=options.directory) as work:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            vitrine(rows, pathlib.Path(work), options)
            fio(rows, pathlib.Path(work), options)
    sys.exit(1 if rows.report(PROMISES, options.json) else 0)


if __name__ == "__main__":
    main()
