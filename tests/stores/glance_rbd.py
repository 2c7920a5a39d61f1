"""The real Glance's rbd driver, for tests: add, get or delete one image.

    glance_rbd.py CEPH_CONF POOL add ID FILE SIZE    prints the URL; SIZE 0 is unknown
    glance_rbd.py CEPH_CONF POOL get URL             prints the MD5 of what lies there
    glance_rbd.py CEPH_CONF POOL time URL            reads it, and prints seconds and CPU seconds of that
    glance_rbd.py CEPH_CONF POOL delete URL

Runs in an environment with glance_store. Ceph's Python modules exist for Debian's own Python only, as files of its
distribution; they work with every Python of the same version, so just these two are looked for there.
"""

import glob
import hashlib
import importlib.util
import sys
import time

for name in ("rados", "rbd"):
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    found = glob.glob(f"/usr/lib/python3/dist-packages/{name}.{tag}-*.so")
    if not found:
        sys.exit(f"no module {name} for this Python: package python3-{name}")
    spec = importlib.util.spec_from_file_location(name, found[0])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)

import glance_store  # noqa: E402
from oslo_config import cfg  # noqa: E402

ceph_conf, pool, command, *rest = sys.argv[1:]
conf = cfg.CONF
glance_store.register_opts(conf)
conf(args=[])
for option, value in {
    "stores": ["rbd"],
    "default_store": "rbd",
    "rbd_store_ceph_conf": ceph_conf,
    "rbd_store_user": "glance",
    "rbd_store_pool": pool,
    "rbd_store_chunk_size": 1,
}.items():
    conf.set_override(option, value, group="glance_store")
glance_store.create_stores(conf)
glance_store.verify_default_store()
if command == "add":
    image_id, file, size = rest
    with open(file, "rb") as data:
        print(glance_store.add_to_backend(conf, image_id, data, int(size), scheme="rbd")[0])
elif command == "get":
    digest = hashlib.md5()
    for chunk in glance_store.get_from_backend(rest[0])[0]:
        digest.update(chunk)
    print(digest.hexdigest())
elif command == "time":
    begun = time.monotonic(), time.process_time()
    for _ in glance_store.get_from_backend(rest[0])[0]:
        pass
    print(time.monotonic() - begun[0], time.process_time() - begun[1])
else:
    glance_store.delete_from_backend(rest[0])
