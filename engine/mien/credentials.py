"""A studio's signature: on plain records, and as C2PA content credentials inside movies and stills.

Certificates are PEM, the signer's first, then those that vouch for it. Nothing is fetched: not what a file says lies
elsewhere, no list of trust, no time stamp.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mien.files.atomic import appearing
from mien.files.whole import read_small
from mien.types import MienError

MEDIA = frozenset((".mp4", ".m4v", ".mov", ".png", ".jpg", ".jpeg"))
"""Endings of files that carry content credentials."""
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
LABEL = "org.mien.record"
LARGEST = 1 << 20
PURPOSES = "1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36"
"""What C2PA lets certificates be made for: mail protection, and signing documents."""
LACKING = "Content credentials and signatures need c2pa-python and cryptography: pip install 'mien[engine,provenance]'."


@dataclass(frozen=True)
class Studio:
    """Who signs.

    Attributes:
        certificates: PEM of the signer and of who vouches for it.
        key: PEM of the private key, not encrypted.
        algorithm: C2PA's name of how it signs.
    """

    certificates: str
    key: bytes = field(repr=False)
    algorithm: str


@dataclass(frozen=True)
class Checked:
    """What checking a signature found.

    Attributes:
        signer: Who signed, as the certificate says; empty where nobody did.
        trusted: Whether a certificate that is trusted vouches for the signer.
        wrong: What is wrong, in words; empty where nothing is.
        record: What was signed.
    """

    signer: str = ""
    trusted: bool = False
    wrong: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


def who_signed(checked: Checked) -> str:
    """What checking a signature found, in words."""
    if checked.wrong:
        return checked.wrong
    if not checked.signer:
        return "not signed"
    return f"signed by {checked.signer}" + ("" if checked.trusted else ", for whom nobody was asked to vouch")


def open_studio(certificates: Path, key: Path, password: str | None = None) -> Studio:
    """Read a certificate chain and its private key.

    Raises:
        MienError: They cannot be read, or do not belong together.
    """
    chain, secret = _chain(certificates), _key(key, password)
    try:
        belong = chain[0].public_key() == secret.public_key()
    except _refused() as error:
        raise MienError(f"{certificates} holds no key that can be read: {str(error)[:120]}.") from error
    if not belong:
        raise MienError(f"{key} is not the key of the first certificate in {certificates}. Put the signer's first.")
    _, serialization, _, _ = _cryptography()
    plain = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    text = "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain)
    return Studio(text, plain, _algorithm(secret.public_key(), str(key)))


def sign(studio: Studio, content: bytes) -> bytes:
    """The signature of ``content``."""
    _, serialization, hashes, ways = _cryptography()
    secret = serialization.load_pem_private_key(studio.key, None)
    if studio.algorithm == "ed25519":
        signature: bytes = secret.sign(content)
    elif studio.algorithm.startswith("ps"):
        signature = secret.sign(content, _pss(ways, hashes), hashes.SHA256())
    else:
        signature = secret.sign(content, ways.ec.ECDSA(_hash(studio.algorithm)))
    return signature


def check(content: bytes, signature: bytes, certificates: str, trust: Sequence[Path]) -> Checked:
    """Whether ``signature`` is that of ``content`` by the first of ``certificates``, and who vouches for it."""
    x509, _, hashes, ways = _cryptography()
    try:
        chain = x509.load_pem_x509_certificates(certificates.encode())
        public = chain[0].public_key()
        algorithm = _algorithm(public, "the certificate")
        if algorithm == "ed25519":
            public.verify(signature, content)
        elif algorithm.startswith("ps"):
            public.verify(signature, content, _pss(ways, hashes), hashes.SHA256())
        else:
            public.verify(signature, content, ways.ec.ECDSA(_hash(algorithm)))
    except _refused() as error:
        return Checked(wrong=f"the signature is not that of what is signed ({str(error)[:80] or 'it does not fit'})")
    now = datetime.now(UTC)
    wrong = ""
    anchors = [one for path in trust for one in _chain(path)]
    try:
        begin, end = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
        name, vouched = _name(chain[0]), _vouched(chain, anchors, now)
    except _refused() as error:
        return Checked(wrong=f"its certificate cannot be read ({str(error)[:80]})")
    if not begin <= now <= end:
        wrong = f"the signer's certificate is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d} only"
    return Checked(name, vouched, wrong)


def embed(path: Path, studio: Studio, record: Mapping[str, Any], title: str, engine: str) -> None:
    """Put signed content credentials into a movie or still, in its place; what it shows stays as it is.

    Raises:
        MienError: Its format holds none, or it cannot be written.
    """
    c2pa = _c2pa()
    if path.suffix.lower() not in MEDIA:
        raise MienError(f"{path} cannot carry content credentials: {', '.join(sorted(MEDIA))} can.")
    source = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": {"name": engine}}
    manifest = {
        "claim_generator_info": [{"name": engine.split()[0], "version": engine.split()[-1]}],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [source]}},
            {"label": LABEL, "data": dict(record)},
        ],
    }
    try:
        with appearing(path) as partial, _context(c2pa, ()) as context:
            given = c2pa.C2paSignerInfo(studio.algorithm.encode(), studio.certificates.encode(), studio.key, None)
            with c2pa.Signer.from_info(given) as signer, c2pa.Builder(manifest, context) as builder:
                builder.sign_file(path, partial, signer)
    except c2pa.C2paError as error:
        raise MienError(
            f"{path} was not signed: {str(error)[:300]}. The certificate must be made for signing documents or mail, "
            "and name the ones that vouch for it."
        ) from error


def embedded(path: Path, trust: Sequence[Path]) -> Checked | None:
    """What the content credentials of a movie or still say, checked; None where it carries none.

    Raises:
        MienError: The file cannot be read.
    """
    c2pa = _c2pa()
    if not path.is_file():
        raise MienError(f"There is no {path}. Check the path.")
    try:
        with _context(c2pa, trust) as context, c2pa.Reader(path, context=context) as reader:
            store = json.loads(reader.json())
            state = str(reader.get_validation_state())
    except c2pa.C2paError as error:
        if "ManifestNotFound" in str(error):
            return None
        return Checked(wrong=f"its content credentials cannot be read: {str(error)[:160]}")
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    said = manifest.get("signature_info") or {}
    signer = ", ".join(str(said[name]) for name in ("issuer", "common_name") if said.get(name))
    records = [one.get("data") for one in manifest.get("assertions", ()) if one.get("label") == LABEL]
    failures = [str(one.get("code")) for one in store.get("validation_results", {}).get("activeManifest", {})
                .get("failure", ()) if one.get("code") != "signingCredential.untrusted"]  # fmt: skip
    wrong = ""
    if failures or state == "Invalid":
        wrong = f"it was changed after it was signed, or its signature is wrong ({', '.join(failures[:4]) or state})"
    record = records[0] if records and isinstance(records[0], dict) else {}
    return Checked(signer, state == "Trusted", wrong, record)


def _context(c2pa: Any, trust: Sequence[Path]) -> Any:
    anchors = "".join(read_small(path, LARGEST, "certificate").decode("utf-8", "replace") for path in trust)
    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if anchors:
        settings["trust"] = {"trust_anchors": anchors, "trust_config": PURPOSES}
    return c2pa.Context.from_dict(settings)


def _vouched(chain: Sequence[Any], anchors: Sequence[Any], now: datetime) -> bool:
    """Whether the first certificate leads to an anchor, each issued by the next, all valid now."""
    from cryptography.x509 import BasicConstraints

    def issued(one: Any, by: Any) -> bool:
        try:
            one.verify_directly_issued_by(by)
            constraints = by.extensions.get_extension_for_class(BasicConstraints).value
        except _refused():
            return False
        return bool(constraints.ca) and by.not_valid_before_utc <= now <= by.not_valid_after_utc

    for row, one in enumerate(chain):
        if one in anchors or any(issued(one, anchor) for anchor in anchors):
            return True
        if row + 1 == len(chain) or not issued(one, chain[row + 1]):
            return False
    return False


def _name(certificate: Any) -> str:
    x509, _, _, _ = _cryptography()
    oids = (x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME)
    found = [str(one.value) for oid in oids for one in certificate.subject.get_attributes_for_oid(oid)]
    return ", ".join(found) or "somebody whom the certificate does not name"


def _chain(path: Path) -> list[Any]:
    x509, _, _, _ = _cryptography()
    try:
        chain: list[Any] = x509.load_pem_x509_certificates(read_small(path, LARGEST, "certificate"))
    except _refused() as error:
        raise MienError(f"{path} holds no certificates in PEM: {str(error)[:120]}. Export them as PEM.") from error
    return chain


def _key(path: Path, password: str | None) -> Any:
    _, serialization, _, _ = _cryptography()
    try:
        given = None if password is None else password.encode()
        return serialization.load_pem_private_key(read_small(path, LARGEST, "private key"), given)
    except _refused() as error:
        raise MienError(f"{path} is no private key in PEM that can be opened: {str(error)[:120]}.") from error


def _algorithm(public: Any, where: str) -> str:
    _, _, _, ways = _cryptography()
    if isinstance(public, ways.ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(public, ways.rsa.RSAPublicKey):
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    curve = public.curve.name if isinstance(public, ways.ec.EllipticCurvePublicKey) else ""
    if curve not in curves:
        raise MienError(f"{where} signs in a way that C2PA does not know: use Ed25519, RSA, or P-256 to P-521.")
    return curves[curve]


def _hash(algorithm: str) -> Any:
    _, _, hashes, _ = _cryptography()
    return {"es256": hashes.SHA256, "es384": hashes.SHA384, "es512": hashes.SHA512}[algorithm]()


def _pss(ways: Any, hashes: Any) -> Any:
    return ways.padding.PSS(mgf=ways.padding.MGF1(hashes.SHA256()), salt_length=32)


def _refused() -> tuple[type[Exception], ...]:
    """What cryptography says of keys and certificates that are damaged, or of kinds that it does not know."""
    from cryptography import exceptions
    from cryptography.x509 import DuplicateExtension, ExtensionNotFound, InvalidVersion

    known = (exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm, DuplicateExtension, ExtensionNotFound)
    return (*known, InvalidVersion, ValueError, TypeError)


def _cryptography() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import asymmetric, hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa  # noqa: F401
        from cryptography.x509 import oid  # noqa: F401
    except ImportError as error:
        raise MienError(LACKING) from error
    return x509, serialization, hashes, asymmetric


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MienError(LACKING) from error
    return c2pa
