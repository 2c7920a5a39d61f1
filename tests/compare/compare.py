"""Compares Vitrine with the real Glance. Called by `tests/compare/run`; exit code 0 only if nothing unlisted differs."""

import argparse
import contextlib
import hashlib
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import differences
import endpoints
import origin
import report
import script
import servers
import signers
from runner import Results, Runner

DESCRIPTION = "Sends the same requests to Glance and to Vitrine and reports every difference that is not listed."
# Requests of a whole run below which something must have been lost.
REQUESTS_MIN = 9500
# How often a script is begun.
ATTEMPTS = 3


def main() -> int:
    options = _options()
    # However it ends, the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scripts = [each for each in script.load_all() if not options.only or options.only in each.name]
    # A site without a script for it is not started.
    sites = [site for site in options.sites or servers.SITES if any(site in each.sites for each in scripts)]
    if not sites:
        sys.exit(f"no script has {options.only!r} in its name and runs at these sites")
    rules = differences.load()
    results = Results()
    home = pathlib.Path(tempfile.mkdtemp(prefix="vitrine-compare-"))
    kept = options.keep
    try:
        _run(home, scripts, sites, rules, results)
    except Exception:
        # What a server wrote may say why; a run that somebody ended leaves nothing.
        kept = True
        raise
    finally:
        if kept:
            report.progress(f"logs and data are kept in {home}")
        else:
            shutil.rmtree(home)
    report.table(results, endpoints.Endpoints().all())
    complete = not options.only and not options.sites
    problems = [*_check_lists(rules), *(_check_coverage(results, rules) if complete else [])]
    for problem in problems:
        print(f"FAILED {problem}")
    print(f"{len(results.failures)} unlisted differences, {len(problems)} other problems")
    return 1 if results.failures or problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/compare/run", description=DESCRIPTION)
    parser.add_argument("--only", metavar="PART", help="only scripts whose name holds PART")
    parser.add_argument("--site", action="append", dest="sites", choices=servers.SITES, help="only this site (repeatable)")
    parser.add_argument("--keep", action="store_true", help="keep the servers' logs and data")
    return parser.parse_args()


def _run(home: pathlib.Path, scripts: list[script.Script], sites: list[str], rules, results: Results) -> None:
    report.progress("starting Keystone")
    with contextlib.ExitStack() as held:
        identity = held.enter_context(servers.keystone(home / "keystone"))
        address = held.enter_context(origin.serving())
        identity.add_images("Elsewhere", f"http://{address}/region")
        tokens = {user: identity.token(user) for user in servers.USERS}
        known = {f"project_{name}": value for name, value in identity.projects.items()} | {"origin": address}
        known |= {name: hashlib.new(name, origin.DATA).hexdigest() for name in ("md5", "sha256", "sha512")}
        key_manager = ""
        if any(servers.SITES[each].signers for each in sites):
            report.progress("starting Barbican")
            key_manager, signed = held.enter_context(signers.key_manager(home / "barbican", identity))
            known |= signed
        for each in sites:
            report.progress(f"starting Glance and Vitrine of site {each}")
            with servers.pair(home / each, identity, servers.SITES[each], key_manager) as pair:
                runner = Runner(pair, each, tokens, known, rules, results)
                try:
                    _run_scripts(runner, scripts, results)
                finally:
                    runner.close()


def _run_scripts(runner: Runner, scripts: list[script.Script], results: Results) -> None:
    for one in scripts:
        if runner.site not in one.sites:
            continue
        begun, before = time.monotonic(), results.requests
        failed = _run_script(runner, one, results)
        if failed:
            for failure in results.failures[-failed:]:
                report.show_failure(failure)
        runner.clear(one.name)
        count = results.requests - before
        verdict = f"{failed} FAILED" if failed else "alike"
        report.progress(f"  [{runner.site}] {one.name}: {count} requests, {verdict} ({time.monotonic() - begun:.1f} s)")


def _run_script(runner: Runner, one: script.Script, results: Results) -> int:
    """How many steps of a script failed. Glance on SQLite loses a task now and then, when two of its threads write at once, and tells
    of it in more than one way: then both servers begin again. Vitrine loses none, and what differed before is not forgotten."""
    for left in reversed(range(ATTEMPTS)):
        failures = len(results.failures)
        try:
            return runner.run(one)
        except script.Waited as lost:
            if not left or lost.waiting != [servers.GLANCE] or len(results.failures) > failures:
                # What differed before may be why it waits in vain.
                for failure in results.failures[failures:]:
                    report.show_failure(failure)
                raise
            report.progress(f"  [{runner.site}] {one.name}: Glance lost a task; once more")
            runner.clear(one.name)
    raise AssertionError("the last attempt returns or raises")


def _check_lists(rules: dict[str, list[differences.Rule]]) -> list[str]:
    """The machine's list of differences and the reader's are one."""
    documented = differences.documented()
    return [
        *(f"`{name}` of differences.yaml has no row in docs/differences.md" for name in sorted(set(rules) - documented)),
        *(f"docs/differences.md names `{name}`, which differences.yaml lacks" for name in sorted(documented - set(rules))),
    ]


def _check_coverage(results: Results, rules: dict[str, list[differences.Rule]]) -> list[str]:
    """After a whole run: nothing listed that is not there, and nothing left out."""
    problems = [f"`{name}` is listed, but no request shows it" for name in rules if name not in results.seen]
    pending = endpoints.pending()
    for name in endpoints.Endpoints().all():
        asked = results.counts.get(name) is not None
        if not asked and name not in pending:
            problems.append(f"no script asks {name}, and pending.txt does not name it")
        if asked and name in pending:
            problems.append(f"{name} has scripts: take it out of pending.txt")
    if results.requests < REQUESTS_MIN:
        problems.append(f"only {results.requests} requests: at least {REQUESTS_MIN} are expected")
    return problems


if __name__ == "__main__":
    sys.exit(main())
