"""Signs claims with PyJWT, once for each algorithm, with keys made for it: prints one line of JSON each."""

import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

claims, secret = json.loads(sys.argv[1]), sys.argv[2]
some_rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
keys = [
    ("RS256", some_rsa, RSAAlgorithm),
    ("PS256", some_rsa, RSAAlgorithm),
    ("ES256", ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    ("ES384", ec.generate_private_key(ec.SECP384R1()), ECAlgorithm),
    ("EdDSA", ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
]

print(json.dumps({"alg": "HS256", "token": jwt.encode(claims, secret, algorithm="HS256")}))
for alg, key, kind in keys:
    public = key.public_key()
    jwk = kind.to_jwk(public, as_dict=True) | {"kid": "python/" + alg, "use": "sig"}
    jwk.pop("key_ops", None)
    line = {
        "alg": alg,
        "token": jwt.encode(claims, key, algorithm=alg, headers={"kid": jwk["kid"]}),
        "jwks": {"keys": [jwk]},
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    }
    print(json.dumps(line))
