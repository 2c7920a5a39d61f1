"""Figures of several programs that take turns on the same work: rows of rates and costs, their medians as a table, and promises, which
the median of the rounds' ratios keeps or misses: a slow phase of the machine meets all of a round."""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

MIB = 1 << 20


def run(arguments: list, **more) -> tuple[float, float, str]:
    """Runs a program to its end: seconds, CPU seconds, and what it printed."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([str(argument) for argument in arguments], text=True, stdout=more.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, **more)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{arguments[0]} failed: {done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout or ""


class Rows:
    """For each name the figures of all rounds: MiB/s, and CPU seconds per GiB where they are known."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[float, float | None]]] = {}

    def note(self, name: str, size: int, seconds: float, cpu: float | None = None) -> None:
        """`size` bytes took `seconds`, and the CPU `cpu` seconds."""
        rate, cost = size / MIB / seconds, None if cpu is None else cpu / size * (1 << 30)
        self.rows.setdefault(name, []).append((rate, cost))
        print(f"  {name}: {rate:.0f} MiB/s" + ("" if cost is None else f", {cost:.2f} s/GiB"), file=sys.stderr, flush=True)

    def last(self, name: str) -> float:
        """The rate of a row's last round, MiB/s."""
        return self.rows[name][-1][0]

    def report(self, promises: list[tuple[str, str, str, float, str]], json_file: pathlib.Path | None) -> int:
        """Prints medians and promises, each (row, "rate" or "cpu", sign, bound, the other row); how many were missed."""
        print(f"{'':28}{'MiB/s':>8}  {'smallest .. largest':>22}  {'CPU s/GiB':>9}")
        for name, values in self.rows.items():
            rates, costs = [rate for rate, _ in values], [cost for _, cost in values if cost is not None]
            spread = f"{min(rates):.0f} .. {max(rates):.0f}"
            print(f"{name:28}{statistics.median(rates):8.0f}  {spread:>22}  {'' if not costs else f'{statistics.median(costs):9.2f}'}")
        print()
        missed = 0
        for name, what, sign, bound, other in promises:
            if name not in self.rows or other not in self.rows:
                print(f"  not measured: {name} against {other}")
                continue
            pairs = zip(self.rows[name], self.rows[other], strict=True)
            ratios = [ours[what == "cpu"] / theirs[what == "cpu"] for ours, theirs in pairs]
            ratio = statistics.median(ratios)
            kept = {">=": ratio >= bound, "<=": ratio <= bound, "~": abs(ratio - 1) <= bound}[sign]
            wish = {">=": f"at least {bound:.2f} x", "<=": f"at most {bound:.2f} x", "~": f"within {bound:.0%} of"}[sign]
            missed += not kept
            print(f"  {'kept  ' if kept else 'MISSED'}  {name}: {'CPU per GiB' if what == 'cpu' else 'rate'} {wish} {other}: {ratio:.2f} ({min(ratios):.2f} .. {max(ratios):.2f})")
        if json_file:
            json_file.write_text(json.dumps({"rows": self.rows}, indent=1))
        return missed


def bench_store(report: dict) -> dict[str, float]:
    """MiB/s by kind of work of a report of `vitrine bench store`, without publication, which the others do not have."""
    rows = {}
    for phase in report["phases"]:
        if phase["work"] in ("write", "read"):
            publication = (phase["commit_us"] or {"p50": 0})["p50"] / 1e6 * phase["operations"]
            rows[phase["work"]] = phase["bytes"] / MIB / (phase["seconds"] - publication)
    return rows
