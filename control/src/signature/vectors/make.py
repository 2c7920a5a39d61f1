"""Signatures as clients make them (python-cryptography, which Glance verifies with): one line per key and hash.

    key type | hash | certificate (PEM file beside this one) | signature, base64
"""
import base64, datetime, sys, pathlib
from cryptography import x509
from cryptography.x509.oid import NameOID
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa, dsa, ec, padding
out = pathlib.Path(sys.argv[1])
DATA = b"the data of an image"
H = {"SHA-224": hashes.SHA224(), "SHA-256": hashes.SHA256(), "SHA-384": hashes.SHA384(), "SHA-512": hashes.SHA512()}
def certificate(name, key, issuer=None, issuer_key=None, ca=False, start=2020, end=2999):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    b = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(start,1,1)).not_valid_after(datetime.datetime(end,12,31)))
    if ca:
        b = b.add_extension(x509.BasicConstraints(True, None), True).add_extension(
            x509.KeyUsage(False,False,False,False,False,True,True,False,False), True)
    else:
        b = b.add_extension(x509.BasicConstraints(False, None), True)
    c = b.sign(issuer_key or key, hashes.SHA256())
    (out/f"{name}.pem").write_bytes(c.public_bytes(serialization.Encoding.PEM))
    return c
lines=[]
def sign(key, h):
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(DATA, padding.PSS(padding.MGF1(h), padding.PSS.MAX_LENGTH), h)
    if isinstance(key, dsa.DSAPrivateKey):
        return key.sign(DATA, h)
    return key.sign(DATA, ec.ECDSA(h))
keys = {
 "rsa-2048": ("RSA-PSS", rsa.generate_private_key(65537, 2048)),
 "rsa-2047": ("RSA-PSS", rsa.generate_private_key(65537, 2047)) ,
 "rsa-4096": ("RSA-PSS", rsa.generate_private_key(65537, 4096)),
 "dsa-1024": ("DSA", dsa.generate_private_key(1024)),
 "dsa-2048": ("DSA", dsa.generate_private_key(2048)),
 "dsa-3072": ("DSA", dsa.generate_private_key(3072)),
 "p256": ("ECC_SECP384R1", ec.generate_private_key(ec.SECP256R1())),
 "p384": ("ECC_SECP384R1", ec.generate_private_key(ec.SECP384R1())),
 "p521": ("ECC_SECP521R1", ec.generate_private_key(ec.SECP521R1())),
}
for name,(kind,key) in keys.items():
    certificate(name, key)
    for hn,h in H.items():
        lines.append(f"{kind} {hn} {name} {base64.b64encode(sign(key,h)).decode()}")
# PSS with another salt is accepted, PKCS #1 v1.5 refused
k=keys["rsa-2048"][1]
short=k.sign(DATA, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
v15=k.sign(DATA, padding.PKCS1v15(), hashes.SHA256())
lines.append(f"RSA-PSS SHA-256 rsa-2048 {base64.b64encode(short).decode()}")
(out/"refused.txt").write_text(f"RSA-PSS SHA-256 rsa-2048 {base64.b64encode(v15).decode()}\n")
(out/"accepted.txt").write_text("\n".join(lines)+"\n")
certificate("secp256k1", ec.generate_private_key(ec.SECP256K1()))
from cryptography.hazmat.primitives.asymmetric import ed25519
ek=ed25519.Ed25519PrivateKey.generate()
b=x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME,"ed25519")])).issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME,"ed25519")])).public_key(ek.public_key()).serial_number(1).not_valid_before(datetime.datetime(2020,1,1)).not_valid_after(datetime.datetime(2999,1,1)).sign(ek,None)
(out/"ed25519.pem").write_bytes(b.public_bytes(serialization.Encoding.PEM))
certificate("expired", k, start=2020, end=2021)
certificate("early", k, start=2998, end=2999)
ca_key=ec.generate_private_key(ec.SECP256R1()); ca=certificate("authority", ca_key, ca=True)
mid_key=ec.generate_private_key(ec.SECP384R1()); mid=certificate("intermediate", mid_key, ca, ca_key, ca=True)
certificate("leaf", k, mid, mid_key)
certificate("direct-leaf", k, ca, ca_key)
# signed by something that says it's no authority
nk=ec.generate_private_key(ec.SECP256R1()); n=certificate("no-authority", nk, ca, ca_key)
certificate("below-no-authority", k, n, nk)
