"""An image of 20 GiB, nearly all of it zeros: more than memory, more than 32 bits."""

import hashlib
import os

import pytest

SIZE = int(os.environ.get("VITRINE_TEST_SPARSE_GIB", "5")) << 30
PIECE = 1 << 20
# Where the bytes are that are not zero: at the ends, and around 4 GiB.
ISLANDS = {0: b"first", (4 << 30) - 3: b"across 4 GiB", SIZE - 4: b"last"}


def pieces():
    """The image, a piece after the other."""
    zeros = bytes(PIECE)
    for start in range(0, SIZE, PIECE):
        piece = None
        for at, text in ISLANDS.items():
            if start - len(text) < at < start + PIECE:
                piece = bytearray(piece or zeros)
                for offset, byte in enumerate(text, at - start):
                    if 0 <= offset < PIECE:
                        piece[offset] = byte
        yield zeros if piece is None else bytes(piece)


class Body:
    """A body of known length that is never whole in memory."""

    def __init__(self) -> None:
        self.pieces = pieces()
        self.rest = b""

    def __len__(self) -> int:
        return SIZE

    def read(self, size: int = -1) -> bytes:
        if not self.rest:
            self.rest = next(self.pieces, b"")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


@pytest.fixture(scope="module")
def expected() -> str:
    digest = hashlib.md5()
    for piece in pieces():
        digest.update(piece)
    return digest.hexdigest()


@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_huge_image_is_stored_whole(vitrine, expected, way):
    image = vitrine.create(name=f"sparse by {way}")["id"]
    vitrine.upload(image, Body() if way == "length" else pieces())
    shown = vitrine.show(image)
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", SIZE, SIZE)
    assert shown["checksum"] == expected
    path = f"/v2/images/{image}/file"
    for at, text in ISLANDS.items():
        end = min(at + len(text) + 10, SIZE)
        reply = vitrine.get(path, headers={"Range": f"bytes={at}-{end - 1}"})
        assert reply.status_code == 206
        assert reply.content == text[: end - at].ljust(end - at, b"\0")
        assert reply.headers["Content-Range"] == f"bytes {at}-{end - 1}/{SIZE}"
    if way == "length":
        digest, count = hashlib.md5(), 0
        with vitrine.get(path, stream=True) as reply:
            assert reply.headers["Content-Length"] == str(SIZE)
            for chunk in reply.iter_content(4 << 20):
                digest.update(chunk)
                count += len(chunk)
        assert (count, digest.hexdigest()) == (SIZE, expected)
    assert vitrine.request("DELETE", f"/v2/images/{image}").status_code == 204
