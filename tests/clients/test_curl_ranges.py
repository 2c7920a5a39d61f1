"""curl with ranges, resumption and Expect, as scripts use it."""

import os

import pytest

from conftest import OCTETS


@pytest.fixture(scope="module")
def image(vitrine):
    data = os.urandom(2_500_007)
    made = vitrine.create()["id"]
    vitrine.upload(made, data)
    return f"{vitrine.url}/v2/images/{made}/file", data


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("0-0", slice(0, 1)),
        ("0-65535", slice(0, 65536)),
        ("65535-65537", slice(65535, 65538)),
        ("2500000-", slice(2_500_000, None)),
        ("-1000", slice(-1000, None)),
        ("1000000-9999999", slice(1_000_000, None)),
    ],
)
def test_ranges(tool, image, tmp_path, asked, part):
    url, data = image
    target = tmp_path / "part"
    code = tool("curl", "-sS", "-r", asked, "-o", target, "-w", "%{http_code}", url)
    assert code == "206"
    assert target.read_bytes() == data[part]


def test_a_download_is_resumed(tool, image, tmp_path):
    url, data = image
    target = tmp_path / "resumed"
    target.write_bytes(data[:1_000_001])
    code = tool("curl", "-sS", "-C", "-", "-o", target, "-w", "%{http_code}", url)
    assert code == "206"
    assert target.read_bytes() == data


def test_several_ranges_are_refused(tool, image):
    url, _ = image
    assert tool("curl", "-sS", "-r", "0-1,3-4", "-o", "/dev/null", "-w", "%{http_code}", url) == "400"
    assert tool("curl", "-sS", "-r", "9999999-", "-o", "/dev/null", "-w", "%{http_code}", url) == "416"


def test_uploads(tool, vitrine, tmp_path):
    data = os.urandom(3_000_000)
    source = tmp_path / "source"
    source.write_bytes(data)
    ways = {
        "by length": ["-T", source],
        "chunked": ["-T", source, "-H", "Transfer-Encoding: chunked"],
        "expecting": ["-T", source, "-H", "Expect: 100-continue"],
        "at once": ["-X", "PUT", "--data-binary", f"@{source}", "-H", "Expect:"],
    }
    for name, options in ways.items():
        made = vitrine.create()["id"]
        kind = f"Content-Type: {OCTETS['Content-Type']}"
        url = f"{vitrine.url}/v2/images/{made}/file"
        code = tool("curl", "-sS", "-H", kind, *options, "-o", "/dev/null", "-w", "%{http_code}", url)
        assert code == "204", name
        assert vitrine.get(f"/v2/images/{made}/file").content == data, name
