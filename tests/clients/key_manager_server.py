"""Runs Barbican on a loopback port: `key_manager_server.py PORT PASTE`; its configuration is `~/.barbican/barbican.conf`.

Requests are answered one after the other: with SQLite, two that write at once would fail.
"""

import socketserver
import sys
import threading
import wsgiref.simple_server

# Barbican reads the arguments as its own when it is imported.
PASTE = sys.argv.pop()
PORT = int(sys.argv.pop())

from paste import deploy  # noqa: E402

TURN = threading.Lock()


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """A connection that lingers must not keep the others waiting."""

    daemon_threads = True


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    """Without a line in the log for each request."""

    def log_message(self, format, *arguments):
        pass


if __name__ == "__main__":
    application = deploy.loadapp(f"config:{PASTE}")

    def one_by_one(environ, start_response):
        """The application, for one caller at a time."""
        with TURN:
            return list(application(environ, start_response))

    wsgiref.simple_server.make_server("127.0.0.1", PORT, one_by_one, Server, Handler).serve_forever()
