"""One request to one server, exactly as it is written: nothing is added to the head but `Host`, where it is missing, and a length."""

import dataclasses
import http.client
import time

# Seconds that a server may take over one request.
PATIENCE = 60


@dataclasses.dataclass(frozen=True)
class Request:
    """What is sent. The path is on the wire as it stands here; headers may be repeated."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    # Without a length, in chunks.
    chunked: bool = False


@dataclasses.dataclass(frozen=True)
class Response:
    """What came back. `headers` have lower-case names; a repeated header is one, joined by commas."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


def send(port: int, request: Request) -> Response:
    """Sends a request on a new connection to 127.0.0.1. A server that closes without an answer has status 0."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        own_host = any(name.lower() == "host" for name, _ in request.headers)
        connection.putrequest(request.method, request.path, skip_host=own_host, skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value.encode("utf-8"))
        if request.chunked:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders([request.body or b""], encode_chunked=True)
        else:
            if request.body is not None:
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders()
            if request.body:
                _send_body(connection, request.body)
        return _receive(connection, begun)
    except (http.client.BadStatusLine, ConnectionError) as error:
        return Response(0, {}, repr(error).encode(), time.monotonic() - begun)
    finally:
        connection.close()


def _send_body(connection: http.client.HTTPConnection, body: bytes) -> None:
    """A server that refuses the head may stop reading: its answer counts, not that the rest could not be sent."""
    try:
        connection.send(body)
    except ConnectionError:
        pass


def _receive(connection: http.client.HTTPConnection, begun: float) -> Response:
    reply = connection.getresponse()
    try:
        body = reply.read()
    except http.client.IncompleteRead as error:
        body = error.partial + b" <cut short>"
    headers: dict[str, str] = {}
    for name, value in reply.getheaders():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Response(reply.status, headers, body, time.monotonic() - begun)
