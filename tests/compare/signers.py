"""Signers of images, whose certificates a real key manager holds, and what they have signed."""

import base64
import contextlib
import pathlib
from collections.abc import Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

from key_manager import Barbican, certify
from servers import Keystone, setting

# What is signed: `{signed}` in scripts.
DATA = "some data"
OWNER = "demo-member"
HASHES = {"224": hashes.SHA224(), "256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


@contextlib.contextmanager
def key_manager(home: pathlib.Path, identity: Keystone) -> Iterator[tuple[str, dict[str, str]]]:
    """A key manager's URL, and the variables of scripts: `certificate_KEY`, and `signature_KEY_HASH` over the data."""
    home.mkdir()
    server = Barbican(home, setting("VITRINE_TEST_BARBICAN"), identity)
    try:
        token = identity.token(OWNER)
        known = {"signed": DATA}
        for name, (key, sign) in _keys().items():
            known[f"certificate_{name}"] = server.put(token, certify(key))
            for bits, algorithm in HASHES.items():
                known[f"signature_{name}_{bits}"] = base64.b64encode(sign(DATA.encode(), algorithm)).decode()
        yield server.url, known | _odd(server, token)
    finally:
        server.stop()


def _keys() -> dict[str, tuple]:
    """A key of every kind that both know, with what signs by it."""
    pss, plain = rsa.generate_private_key(65537, 2048), dsa.generate_private_key(2048)
    return {
        "rsa": (pss, lambda data, algorithm: pss.sign(data, _pss(algorithm, padding.PSS.MAX_LENGTH), algorithm)),
        "dsa": (plain, plain.sign),
        "p384": _on(ec.SECP384R1()),
        "p521": _on(ec.SECP521R1()),
    }


def _on(curve: ec.EllipticCurve) -> tuple:
    key = ec.generate_private_key(curve)
    return key, lambda data, algorithm: key.sign(data, ec.ECDSA(algorithm))


def _pss(algorithm: hashes.HashAlgorithm, salt) -> padding.PSS:
    return padding.PSS(padding.MGF1(algorithm), salt)


def _odd(server: Barbican, token: str) -> dict[str, str]:
    """A signature whose salt is as long as the digest, and secrets that are no certificates."""
    key = rsa.generate_private_key(65537, 2048)
    return {
        "certificate_salt": server.put(token, certify(key)),
        "signature_salt_256": base64.b64encode(
            key.sign(DATA.encode(), _pss(hashes.SHA256(), 32), hashes.SHA256())
        ).decode(),
        "certificate_broken": server.put(token, b"not a certificate"),
        "certificate_secret": server.put(token, b"x" * 32, "symmetric"),
    }
