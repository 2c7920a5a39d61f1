"""Processes of the tests: started with a log, waited for, and ended."""

import os
import pathlib
import signal
import socket
import subprocess
import time

import requests

# Seconds that a server may take to answer, and to end.
START = 60
STOP = 15


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return holder.getsockname()[1]


class Process:
    """A process in a session of its own, with its output in a file."""

    def __init__(self, command: list, log: pathlib.Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def is_alive(self) -> bool:
        return self.child.poll() is None

    def stop(self) -> None:
        """Asks it to end, and ends what is left of its session."""
        if self.is_alive():
            self.child.terminate()
            try:
                self.child.wait(STOP)
            except subprocess.TimeoutExpired:
                self.child.kill()
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


def wait_for_http(url: str, process: Process) -> None:
    """Waits until a URL is answered at all."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        try:
            requests.get(url, timeout=5)
            return
        # On a busy machine the first answer may take longer than one try.
        except (requests.ConnectionError, requests.Timeout):
            assert process.is_alive(), f"the server ended:\n{process.text()}"
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}:\n{process.text()}")


def wait_for_line(line: str, process: Process) -> None:
    """Waits until a process has written this line."""
    end = time.monotonic() + START
    while line not in process.text().splitlines():
        assert process.is_alive(), f"the server ended:\n{process.text()}"
        assert time.monotonic() < end, f"no line {line!r}:\n{process.text()}"
        time.sleep(0.02)
