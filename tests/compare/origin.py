"""A web server of somebody else's, which both servers fetch image data from."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

DATA = b"fetched" * 1000


# Images of another region, by the first letter of their ids.
_SOUND = {"status": "active", "size": len(DATA), "disk_format": "raw", "container_format": "bare", "hw_disk_bus": "scsi",
          "os_type": "linux", "architecture": "x86_64"}
IMAGES = {
    "a": _SOUND,
    "b": {**_SOUND, "status": "queued", "size": None},
    "c": {**_SOUND, "size": None},
}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """The same without data."""
        self.do_GET()

    def do_GET(self) -> None:
        """`/data`, `/chunked`, `/moved` and `/moved-far` to data, `/failing` is broken, `/away` to where nobody may go, `/region/` is an Image service; everything
        else is not there."""
        match self.path:
            case path if path.startswith("/region/v2/images/"):
                self._image(path.removeprefix("/region/v2/images/"))
            case "/data":
                self._answer(200, {"Content-Length": str(len(DATA))}, DATA)
            case "/chunked":
                self._answer(200, {"Transfer-Encoding": "chunked"}, b"%x\r\n%s\r\n0\r\n\r\n" % (len(DATA), DATA))
            case "/moved":
                self._answer(302, {"Location": "/data", "Content-Length": "0"})
            case "/moved-far":
                self._answer(301, {"Location": f"http://{self.headers['Host']}/data", "Content-Length": "0"})
            case "/failing":
                self._answer(503, {"Content-Length": "0"})
            case "/away":
                self._answer(302, {"Location": "http://169.254.169.254/data", "Content-Length": "0"})
            case _:
                self._answer(404, {"Content-Length": "0"})

    def _image(self, path: str) -> None:
        described = IMAGES.get(path[:1]) if self.headers.get("X-Auth-Token") else None
        if described is None:
            self._answer(404, {"Content-Length": "0"})
            return
        body = DATA if path.endswith("/file") else json.dumps(described).encode()
        self._answer(200, {"Content-Length": str(len(body))}, body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
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
