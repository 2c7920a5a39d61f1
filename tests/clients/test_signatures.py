"""Signed images as clients make them, with their certificates in a real Barbican that the catalog names."""

import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

from conftest import OCTETS, Command, auth, setting
from identity import REGION
from key_manager import Barbican, certify

DATA = b"a small image, signed" * 50_000


@pytest.fixture(scope="module")
def barbican(tmp_path_factory, keystone, secured):
    """The key manager, in the catalog."""
    server = Barbican(tmp_path_factory.mktemp("barbican"), setting("VITRINE_TEST_BARBICAN"), keystone)
    service = keystone.call("POST", "/services", {"service": {"type": "key-manager", "name": "barbican"}})["service"]
    place = {"service_id": service["id"], "interface": "public", "region_id": REGION, "url": server.url}
    keystone.call("POST", "/endpoints", {"endpoint": place})
    yield server
    server.stop()


def test_openstack_creates_signed_images(barbican, keystone, secured, tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    certificate = barbican.put(keystone.token("demo-member"), certify(key))
    signature = key.sign(DATA, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH), hashes.SHA256())
    properties = {
        "img_signature": base64.b64encode(signature).decode(),
        "img_signature_hash_method": "SHA-256",
        "img_signature_key_type": "RSA-PSS",
        "img_signature_certificate_uuid": certificate,
    }
    (tmp_path / "data").write_bytes(DATA)
    openstack = Command("openstack", keystone.client_environment("demo-member"))
    said = [word for name, value in properties.items() for word in ("--property", f"{name}={value}")]
    openstack("image", "create", "signed", "--disk-format", "raw", "--file", tmp_path / "data", *said)
    shown = openstack("image", "show", "signed", "-f", "value", "-c", "status", "-c", "properties").decode()
    assert "active" in shown and certificate in shown, shown
    # The same signature over other data.
    token = keystone.token("demo-member")
    image = secured.create(token, **properties)["id"]
    path = f"/v2/images/{image}/file"
    refused = secured.request("PUT", path, data=DATA[1:], headers={**OCTETS, **auth(token)})
    assert refused.status_code == 400 and "Signature verification failed" in refused.text, refused.text
    assert secured.show(image, token)["status"] == "queued"
    # Whoever may not see the certificate cannot have it fetched.
    other = keystone.token("alt-member")
    image = secured.create(other, **properties)["id"]
    refused = secured.request("PUT", f"/v2/images/{image}/file", data=DATA, headers={**OCTETS, **auth(other)})
    assert refused.status_code == 400 and "Unable to retrieve certificate" in refused.text, refused.text
    openstack("image", "delete", "signed")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("DSA", lambda: dsa.generate_private_key(2048)),
        ("ECC_SECP384R1", lambda: ec.generate_private_key(ec.SECP384R1())),
        ("ECC_SECP521R1", lambda: ec.generate_private_key(ec.SECP521R1())),
    ],
)
def test_every_kind_of_key(barbican, keystone, secured, kind, key):
    token = keystone.token("demo-member")
    key = key()
    certificate = barbican.put(token, certify(key))
    for name, algorithm in (("SHA-224", hashes.SHA224()), ("SHA-512", hashes.SHA512())):
        scheme = [algorithm] if kind == "DSA" else [ec.ECDSA(algorithm)]
        image = secured.create(
            token,
            img_signature=base64.b64encode(key.sign(DATA, *scheme)).decode(),
            img_signature_hash_method=name,
            img_signature_key_type=kind,
            img_signature_certificate_uuid=certificate,
        )["id"]
        secured.upload(image, DATA, token)
        assert secured.show(image, token)["status"] == "active"


def test_salts_of_any_length(barbican, keystone, secured):
    token = keystone.token("demo-member")
    key = rsa.generate_private_key(65537, 2048)
    certificate = barbican.put(token, certify(key))
    for salt in (padding.PSS.MAX_LENGTH, 32, 0):
        signature = key.sign(DATA, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())
        image = secured.create(
            token,
            img_signature=base64.b64encode(signature).decode(),
            img_signature_hash_method="SHA-256",
            img_signature_key_type="RSA-PSS",
            img_signature_certificate_uuid=certificate,
        )["id"]
        reply = secured.request("PUT", f"/v2/images/{image}/file", data=DATA, headers={**OCTETS, **auth(token)})
        assert reply.status_code == 204, reply.text
