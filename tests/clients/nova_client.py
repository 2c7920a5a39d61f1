"""Drives Nova's own image client, in Nova's environment.

`nova_client.py ENDPOINT TOKEN USER PROJECT SOURCE TARGET`: makes an image of the file SOURCE, shows, lists, changes
and downloads it to TARGET, and prints what it saw as JSON. With an option after them:

    IMAGE TARGET --download        only downloads
    IMAGE STORE --copy             has the image copied to another store, as before a boot from there
    IMAGE URL --snapshot           gives a queued image the place where its data lies, as after a snapshot inside of Ceph

A failure of these prints `{"error": ...}`. NOVA_CONFIG names a configuration file, if there is one.
"""

import json
import os
import pathlib
import sys

ARGUMENTS = sys.argv[1:]
del sys.argv[1:]

import nova.conf  # noqa: E402
import nova.context  # noqa: E402
from nova.image import glance  # noqa: E402
from nova import objects  # noqa: E402


def connect(endpoint: str, token: str, user: str, project: str):
    """Nova's image API and a request context, as the compute service has them."""
    files = [os.environ["NOVA_CONFIG"]] if "NOVA_CONFIG" in os.environ else []
    nova.conf.CONF([], project="nova", default_config_files=files)
    nova.conf.CONF.set_override("api_servers", [endpoint], group="glance")
    objects.register_all()
    context = nova.context.RequestContext(
        user_id=user, project_id=project, auth_token=token, roles=["member", "reader"], is_admin=False
    )
    return glance.API(), context


def life(api, context, source: pathlib.Path, target: pathlib.Path) -> dict:
    fields = {
        "name": "from-nova",
        "disk_format": "raw",
        "container_format": "bare",
        "properties": {"hw_disk_bus": "virtio", "block_device_mapping": "[]"},
    }
    with source.open("rb") as data:
        made = api.create(context, fields, data=data)
    seen = {"created": made}
    seen["shown"] = api.get(context, made["id"])
    seen["listed"] = [image["id"] for image in api.get_all(context, filters={"name": "from-nova"})]
    changed = api.update(context, made["id"], {"name": "renamed", "properties": {"a": "b"}}, purge_props=False)
    seen["updated"] = changed
    api.download(context, made["id"], dest_path=str(target))
    chunks = api.download(context, made["id"])
    seen["streamed"] = sum(len(chunk) for chunk in chunks)
    empty = api.create(context, {"name": "volume-backed", "disk_format": "raw", "container_format": "bare"}, data=b"")
    seen["empty"] = api.get(context, empty["id"])
    api.delete(context, empty["id"])
    api.delete(context, made["id"])
    try:
        api.get(context, made["id"])
    except Exception as error:
        seen["gone"] = type(error).__name__
    return seen


def main() -> None:
    endpoint, token, user, project, subject, target, *options = ARGUMENTS
    api, context = connect(endpoint, token, user, project)
    single = {
        "--download": lambda: api.download(context, subject, dest_path=target),
        "--copy": lambda: api.copy_image_to_store(context, subject, target),
        "--snapshot": lambda: api.update(context, subject, {"name": "snapshot", "location": target}, purge_props=False),
    }
    if options:
        try:
            single[options[0]]()
            seen = {"error": None}
        except Exception as error:
            seen = {"error": f"{type(error).__name__}: {error}"}
    else:
        seen = life(api, context, pathlib.Path(subject), pathlib.Path(target))
    print(json.dumps(seen, default=str))


if __name__ == "__main__":
    main()
