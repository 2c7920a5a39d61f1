"""A web server of somebody else's, which both servers fetch image data from."""

import contextlib
import http.server
import threading
from collections.abc import Iterator

DATA = b"fetched" * 1000


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/data`, `/chunked`, `/moved` to data, `/away` to where nobody may go; everything else is not there."""
        match self.path:
            case "/data":
                self._answer(200, {"Content-Length": str(len(DATA))}, DATA)
            case "/chunked":
                self._answer(200, {"Transfer-Encoding": "chunked"}, b"%x\r\n%s\r\n0\r\n\r\n" % (len(DATA), DATA))
            case "/moved":
                self._answer(302, {"Location": "/data", "Content-Length": "0"})
            case "/away":
                self._answer(302, {"Location": "http://169.254.169.254/data", "Content-Length": "0"})
            case _:
                self._answer(404, {"Content-Length": "0"})

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Nobody asks."""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Its address and port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
