"""What Glance's own code says of images; run by the Python of its environment. See test_formats.py.

    glance_formats.py FILE…

Prints an object in JSON: of each file what its bytes are (`formats`, and of each its size and the checks that fail), and what becomes of
an upload that claims a disk format (`claims`).
"""

import json
import pathlib
import sys
import types
from unittest import mock

from oslo_config import cfg
from oslo_utils.imageutils import format_inspector

from glance import location
from glance.common import config, exception  # noqa: F401: the options

CLAIMS = ("raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi", "iso", "gpt", "luks", "qed", "ami", "ari", "aki", "ploop")


def pieces(path: pathlib.Path):
    with path.open("rb") as data:
        while piece := data.read(1 << 16):
            yield piece


def found(path: pathlib.Path) -> dict:
    wrapper = format_inspector.InspectWrapper(pieces(path))
    for _ in wrapper:
        pass
    return {str(each): {"size": each.virtual_size, "failures": failures(each)} for each in wrapper.formats}


def failures(inspector) -> list[str]:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        return sorted(error.failures)
    return []


def claimed(path: pathlib.Path, disk_format: str) -> dict:
    """What an upload comes to, without the store."""
    proxy = location.ImageProxy.__new__(location.ImageProxy)
    proxy.context = None
    image = dict(container_format="bare", disk_format=disk_format, extra_properties={}, status="saving", virtual_size=None)
    proxy.image = types.SimpleNamespace(**image)

    def store(_, data, *_arguments) -> None:
        for _ in data:
            pass

    with mock.patch.object(location.ImageProxy, "_upload_to_store", store):
        try:
            proxy.set_data(pieces(path))
        except exception.InvalidImageData as error:
            return {"refused": str(error), "virtual_size": None}
    return {"refused": None, "virtual_size": proxy.image.virtual_size}


cfg.CONF([], project="glance", default_config_files=[])
paths = map(pathlib.Path, sys.argv[1:])
told = {path.name: {"formats": found(path), "claims": {claim: claimed(path, claim) for claim in CLAIMS}} for path in paths}
print(json.dumps(told))
