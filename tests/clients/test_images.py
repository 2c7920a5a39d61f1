"""A bootable disk of Debian's installer, in the formats that clouds use: in, out, and the same.

The disk is made here of Debian packages: a partition table, a FAT file system with SYSLINUX, and the installer's own
kernel and first file system.
"""

import hashlib
import json
import pathlib

import pytest

INSTALLER = pathlib.Path("/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64")
BOOT_CODE = pathlib.Path("/usr/lib/syslinux/mbr/mbr.bin")
SECTOR = 512
# The partition begins at 1 MiB; the disk ends with it.
START = 1 << 20
SIZE = 96 << 20

MENU = """\
DEFAULT install
LABEL install
  KERNEL linux
  APPEND initrd=initrd.gz console=ttyS0
"""


def partition_table() -> bytes:
    """One bootable FAT partition from START to the end of the disk, behind the boot code."""
    code = BOOT_CODE.read_bytes()
    assert len(code) <= 440, len(code)
    first, count = START // SECTOR, (SIZE - START) // SECTOR
    entry = b"\x80\xfe\xff\xff\x0c\xfe\xff\xff" + first.to_bytes(4, "little") + count.to_bytes(4, "little")
    return code.ljust(446, b"\0") + entry + bytes(48) + b"\x55\xaa"


@pytest.fixture(scope="module")
def disk(tool, tmp_path_factory) -> pathlib.Path:
    """The bootable disk, raw."""
    home = tmp_path_factory.mktemp("disk")
    path = home / "installer.raw"
    (home / "syslinux.cfg").write_text(MENU)
    with path.open("wb") as output:
        output.truncate(SIZE)
        output.write(partition_table())
    tool("mkfs.vfat", "--offset", START // SECTOR, "-F", "32", path, (SIZE - START) // 1024)
    inside = f"{path}@@{START}"
    files = [INSTALLER / "linux", INSTALLER / "initrd.gz", home / "syslinux.cfg"]
    tool("mcopy", "-i", inside, *files, "::/")
    tool("syslinux", "--offset", START, "--install", path)
    return path


FORMATS = {
    "raw": ["-O", "raw"],
    "qcow2": ["-O", "qcow2"],
    "qcow2-compressed": ["-c", "-O", "qcow2"],
    "vmdk": ["-O", "vmdk", "-o", "subformat=monolithicSparse"],
    "vmdk-stream": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
    "vdi": ["-O", "vdi"],
    "vhdx": ["-O", "vhdx"],
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_bootable_disk_goes_in_and_comes_out(tool, vitrine, disk, tmp_path, name):
    kind = name.partition("-")[0]
    source, target = tmp_path / "source", tmp_path / "target"
    tool("qemu-img", "convert", "-f", "raw", *FORMATS[name], disk, source)
    image = vitrine.create(name=name, disk_format=kind)["id"]
    with source.open("rb") as data:
        vitrine.upload(image, data)
    data = source.read_bytes()
    shown = vitrine.show(image)
    assert shown["status"] == "active"
    assert shown["size"] == len(data)
    assert shown["virtual_size"] == SIZE
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    with vitrine.get(f"/v2/images/{image}/file", stream=True) as reply, target.open("wb") as output:
        for chunk in reply.iter_content(1 << 20):
            output.write(chunk)
    assert target.read_bytes() == data
    told = [json.loads(tool("qemu-img", "info", "-f", kind, "--output", "json", path)) for path in (source, target)]
    assert told[0]["virtual-size"] == told[1]["virtual-size"] == SIZE
    assert told[0]["format"] == told[1]["format"] == kind
    if kind != "raw":
        tool("qemu-img", "check", "-f", kind, target)
    tool("qemu-img", "compare", "-f", "raw", "-F", kind, disk, target)
    vitrine.request("DELETE", f"/v2/images/{image}")


def test_the_disk_is_what_it_says(disk):
    """The fixture is a disk with a boot sector and a boot loader, and not an empty file."""
    with disk.open("rb") as data:
        sector = data.read(SECTOR)
        data.seek(START)
        boot = data.read(SECTOR)
    assert sector[510:] == b"\x55\xaa" and sector[446] == 0x80
    assert boot[3:11] == b"SYSLINUX" and boot[510:] == b"\x55\xaa"
    used = sum(path.stat().st_size for path in (INSTALLER / "linux", INSTALLER / "initrd.gz"))
    assert disk.stat().st_blocks * SECTOR > used


def test_a_disk_of_another_format_is_refused(vitrine, disk):
    image = vitrine.create(disk_format="qcow2")["id"]
    headers = {"Content-Type": "application/octet-stream"}
    with disk.open("rb") as data:
        reply = vitrine.request("PUT", f"/v2/images/{image}/file", data=data, headers=headers)
    assert reply.status_code == 415, reply.text
    assert vitrine.show(image)["status"] == "queued"
