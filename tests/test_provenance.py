"""What is handed over says where it comes from, and cannot be changed unnoticed: with a studio made up for the test."""

import datetime
import json
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien import recipe as recipes
from mien.commands.qc import QcArguments, check_shot
from mien.commands.verify import SignArguments, sign_shot, verify_files
from mien.credentials import SOURCE_TYPE, check, embed, embedded, open_studio, sign
from mien.deliver import Destination
from mien.files.shot import open_shot, read_region
from mien.inspection import facts_of
from mien.job import open_job
from mien.provenance import read_sidecar, sidecar_of
from mien.qc.shot import files_of
from mien.recipe import RecipeError
from mien.types import MienError
from qc.rendered import rendered
from shots import write_movie

pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
SERIAL = iter(range(1, 1000))


def certificate(name, key, issuer=None, authority=False, begin=-1, end=30):
    """A certificate of ``name`` for ``key``, by ``issuer`` (certificate, key), else by itself."""
    by, signing = issuer or (None, key)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Pictures"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    usage = x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.subject)
        .public_key(key.public_key())
        .serial_number(next(SERIAL))
        .not_valid_before(NOW + begin * DAY)
        .not_valid_after(NOW + end * DAY)
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False)
    )
    if not authority:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return made.sign(signing, None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@dataclass(frozen=True)
class Made:
    """Files of a studio that signs, and of who vouches for it."""

    chain: Path
    key: Path
    root: Path


def studio_files(folder: Path, key=None, password: str | None = None, **dates: int) -> Made:
    """A root, one between, and a signer with ``key``."""
    folder.mkdir(parents=True, exist_ok=True)
    key = key or ec.generate_private_key(ec.SECP256R1())
    root_key, middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("Root", root_key, authority=True)
    middle = certificate("Between", middle_key, (root, root_key), authority=True)
    signer = certificate("Signer", key, (middle, middle_key), **dates)
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(signer.public_bytes(pem) + middle.public_bytes(pem))
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    how = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password.encode())
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, how))
    return Made(folder / "chain.pem", folder / "key.pem", folder / "root.pem")


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Made:
    return studio_files(tmp_path_factory.mktemp("studio"))


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    """A rendered shot with a movie, in a folder."""
    for name in ("MIEN_CERTIFICATE", "MIEN_KEY", "MIEN_KEY_PASSWORD", "MIEN_TRUST"):
        monkeypatch.delenv(name, raising=False)
    folder = rendered(tmp_path, count=4).folder / "out"
    movie(folder / "shot.mov")
    return folder


def movie(path: Path, codec: str = "prores422") -> Path:
    pictures = [np.full((32, 48, 3), value, np.float32) for value in (0.2, 0.4, 0.6)]
    provenance = {"engine": "mien 0.1.0", "movie_key": "7"}
    write_movie(path, pictures, codec, size=(48, 32), fps=Fraction(24), provenance=provenance)
    return path


def still(path: Path) -> Path:
    picture = np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8)
    assert cv2.imwrite(str(path), picture)
    return path


class Heard(list):
    """What was told."""

    def __call__(self, event: object) -> None:
        self.append(getattr(event, "text", str(event)))

    @property
    def words(self) -> str:
        return "\n".join(map(str, self))


def verified(*paths: Path, trust: tuple[Path, ...] = (), signed: bool = False) -> tuple[list[str], str]:
    heard = Heard()
    outcome = verify_files(paths, trust, signed, heard)
    return list(outcome.failed.values()), heard.words


class TestRecord:
    def test_it_holds_everything_that_is_known(self, out, studio):
        check_shot(QcArguments(out, flags=(("1002", "warmer"),), by="A. Supervisor"), Heard())
        (out / "solve").mkdir(exist_ok=True)
        (out / "solve/plate.json").write_text(json.dumps({"/x/shot.1002.exr": [1, 2, "f" * 32]}))
        sign_shot(SignArguments(out, certificate=studio.chain, key=studio.key), Heard())
        record = read_sidecar(out / "shot.provenance.json").record
        assert record["likeness"] == "Nobody" and record["release"] == "R-17" and record["engine"] == "mien 0.1.0"
        assert record["identity"] == "b" * 32 and record["recipe"] == "a" * 32 and record["frames"] == [1001, 1004]
        assert record["flags"] == [{"frame": 1002, "words": "warmer", "by": "A. Supervisor"}]
        assert record["plate_files"] == {"shot.1002.exr": "f" * 32} and len(record["files"]) == 5
        assert "shot.mov" in record["files"] and record["digital_source_type"] == SOURCE_TYPE
        assert [step["node"] for step in record["steps"]][-1] == "composite"

    def test_any_frame_leads_to_it(self, out, studio):
        check_shot(QcArguments(out, flags=(("1002", "warmer"),), by="A. Supervisor"), Heard())
        (out / "solve").mkdir(exist_ok=True)
        (out / "solve/plate.json").write_text(json.dumps({"/x/shot.1002.exr": [1, 2, "f" * 32]}))
        sign_shot(SignArguments(out, certificate=studio.chain, key=studio.key), Heard())
        frame = out / "layer/shot.1002.exr"
        assert sidecar_of(frame) == out / "shot.provenance.json"
        facts = facts_of(frame)
        assert facts["mien_likeness"] == "Nobody" and "Test Pictures" in facts["record"]
        assert facts["plate_hash"] == "f" * 32 and facts["flagged"] == "warmer (A. Supervisor)"
        assert "flagged" not in facts_of(out / "layer/shot.1003.exr")
        assert "Test Pictures" in facts_of(out / "shot.mov")["content_credentials"]

    def test_without_a_certificate_it_says_so(self, out):
        before = (out / "shot.mov").read_bytes()
        heard = Heard()
        sign_shot(SignArguments(out), heard)
        assert "no certificate" in heard.words and (out / "shot.mov").read_bytes() == before
        wrong, said = verified(out)
        assert not wrong and "not signed" in said and "5 files as they were" in said
        wrong, _ = verified(out, signed=True)
        assert len(wrong) == 2 and "nobody signed" in wrong[0] and "no content credentials" in wrong[1]

    def test_a_changed_movie_is_found_though_nobody_signed_it(self, out):
        sign_shot(SignArguments(out), Heard())
        (out / "shot.mov").write_bytes((out / "shot.mov").read_bytes() + b"x")
        assert verified(out)[0] == [f"{out / 'shot.provenance.json'}: shot.mov was changed"]

    def test_every_kind_of_file_is_named(self, tmp_path):
        recipe = recipes.read(rendered(tmp_path, count=1).folder / "out/shot.recipe.json")
        written = replace(recipe, output=replace(recipe.output, write=("host", "stmap", "full", "movie")))
        names = [path.relative_to(tmp_path).as_posix() for path in files_of(written, tmp_path, 1001).values()]
        assert names == [
            "layer/shot.1001.exr", "full/shot.1001.exr", "host/shot_raw.1001.exr", "host/shot_face.1001.exr",
            "host/shot_matte.1001.exr", "stmap/shot_stabilize.1001.exr", "stmap/shot_restore.1001.exr",
        ]  # fmt: skip
        destination = Destination(open_job(written, "cpu"))
        assert set(destination.files(1001).values()) == set(files_of(written, destination.job.folder, 1001).values())

    def test_a_key_without_a_certificate_is_refused(self, out, studio):
        with pytest.raises(RecipeError, match="--certificate"):
            sign_shot(SignArguments(out, key=studio.key), Heard())


class TestVerify:
    def test_what_is_unchanged_is_verified(self, out, studio):
        pictures = (still(out / "a.png"), still(out / "b.jpg"))
        sign_shot(SignArguments(out, stills=pictures, certificate=studio.chain, key=studio.key), Heard())
        wrong, said = verified(out, *pictures, out / "layer/shot.1003.exr", trust=(studio.root,), signed=True)
        assert wrong == [] and said.count("signed by Test Pictures, Signer") == 5 and "vouch" not in said
        wrong, said = verified(out)
        assert wrong == [] and "nobody was asked to vouch" in said

    def test_who_is_not_trusted_is_told(self, out, studio, tmp_path):
        other = studio_files(tmp_path / "other")
        sign_shot(SignArguments(out, certificate=studio.chain, key=studio.key), Heard())
        wrong, _ = verified(out, trust=(other.root,))
        assert len(wrong) == 2 and all("none of the trusted" in text for text in wrong)

    def test_a_changed_frame_is_found(self, out, studio):
        sign_shot(SignArguments(out, certificate=studio.chain, key=studio.key), Heard())
        frame, gone = out / "layer/shot.1002.exr", out / "layer/shot.1004.exr"
        content = bytearray(frame.read_bytes())
        content[-3] ^= 1
        frame.write_bytes(content)
        gone.unlink()
        wrong, _ = verified(out, trust=(studio.root,))
        assert sorted(text.partition(": ")[2] for text in wrong) == [
            "layer/shot.1002.exr was changed", "layer/shot.1004.exr is missing",
        ]  # fmt: skip
        assert verified(frame)[0] and not verified(out / "layer/shot.1003.exr")[0]

    @pytest.mark.parametrize("name", ["likeness", "release", "flags", "files"])
    def test_a_changed_record_is_found(self, out, studio, name):
        sign_shot(SignArguments(out, certificate=studio.chain, key=studio.key), Heard())
        path = out / "shot.provenance.json"
        said = json.loads(path.read_text())
        said["record"][name] = {"files": {}, "flags": []}.get(name, "somebody else's")
        said["record"]["added"] = 1
        path.write_text(json.dumps(said))
        wrong, _ = verified(path)
        assert len(wrong) == 1 and "not that of what is signed" in wrong[0]

    def test_spaces_do_not_matter(self, out, studio):
        sign_shot(SignArguments(out, certificate=studio.chain, key=studio.key), Heard())
        path = out / "shot.provenance.json"
        path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
        assert verified(path, trust=(studio.root,))[0] == []

    @pytest.mark.parametrize("name", ["shot.mov", "shot.mp4", "a.png", "b.jpg"])
    def test_a_changed_movie_or_still_is_found(self, out, studio, name):
        path = out / name
        if name == "shot.mp4":
            movie(path, "h264")
        elif path.suffix in (".png", ".jpg"):
            still(path)
        embed(path, open_studio(studio.chain, studio.key), {"likeness": "Nobody"}, name, "mien 0.1.0")
        assert verified(path, trust=(studio.root,), signed=True)[0] == []
        content = bytearray(path.read_bytes())
        # Somewhere in the picture: what a player skips may change.
        at = content.find(b"mdat") + 40 if path.suffix in (".mov", ".mp4") else len(content) - 60
        content[at] ^= 4
        path.write_bytes(content)
        wrong, _ = verified(path)
        assert len(wrong) == 1 and "changed after it was signed" in wrong[0]

    def test_a_record_cannot_name_files_elsewhere(self, out):
        sign_shot(SignArguments(out), Heard())
        path = out / "shot.provenance.json"
        said = json.loads(path.read_text())
        said["record"]["files"] = {"../../etc/passwd": "0", "/etc/passwd": "0"}
        path.write_text(json.dumps(said))
        assert [text.partition(": ")[2] for text in verified(path)[0]] == [
            "../../etc/passwd lies outside the folder", "/etc/passwd lies outside the folder",
        ]  # fmt: skip

    def test_nothing_to_verify_is_refused(self, tmp_path):
        with pytest.raises(MienError, match="mien sign"):
            verify_files((tmp_path,), (), False, Heard())
        with pytest.raises(MienError, match="There is no"):
            verify_files((tmp_path / "gone.mov",), (), False, Heard())


class TestCredentials:
    @pytest.mark.parametrize(
        ("key", "algorithm"),
        [
            (lambda: ec.generate_private_key(ec.SECP256R1()), "es256"),
            (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
            (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
            (ed25519.Ed25519PrivateKey.generate, "ed25519"),
        ],
    )
    def test_every_kind_of_key_signs(self, tmp_path, key, algorithm):
        made = studio_files(tmp_path, key())
        opened = open_studio(made.chain, made.key)
        assert opened.algorithm == algorithm
        signature = sign(opened, b"what is signed")
        found = check(b"what is signed", signature, opened.certificates, (made.root,))
        assert found.trusted and not found.wrong and found.signer == "Test Pictures, Signer"
        assert check(b"what was signed", signature, opened.certificates, (made.root,)).wrong
        path = still(tmp_path / "a.png")
        embed(path, opened, {"likeness": "Nobody", "flags": []}, "a", "mien 0.1.0")
        inside = embedded(path, (made.root,))
        assert inside.trusted and not inside.wrong and inside.record == {"likeness": "Nobody", "flags": []}

    def test_what_it_says_of_its_source_is_c2pas_word(self, tmp_path, studio):
        import c2pa

        path = still(tmp_path / "a.png")
        embed(path, open_studio(studio.chain, studio.key), {"likeness": "Nobody"}, "a", "mien 0.1.0")
        with c2pa.Reader(path) as reader:
            said = json.loads(reader.json())
        manifest = said["manifests"][said["active_manifest"]]
        (actions,) = [one["data"]["actions"] for one in manifest["assertions"] if "actions" in one["label"]]
        assert actions[0]["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
        assert manifest["claim_generator_info"][0]["name"] == "mien"

    def test_pictures_stay_as_they_are_and_can_be_signed_again(self, tmp_path, studio):
        path = movie(tmp_path / "a.mov")
        shot = open_shot(path)
        before = [read_region(shot, frame, shot.display) for frame in shot.frames]
        for likeness in ("Nobody", "Somebody"):
            embed(path, open_studio(studio.chain, studio.key), {"likeness": likeness}, "a", "mien 0.1.0")
        again = open_shot(path)
        assert all(np.array_equal(one, read_region(again, f, again.display)) for one, f in zip(before, again.frames))
        found = embedded(path, (studio.root,))
        assert found.record == {"likeness": "Somebody"} and found.trusted and not found.wrong

    def test_without_the_libraries_it_says_what_to_install(self, out, studio, monkeypatch):
        sign_shot(SignArguments(out), Heard())
        for name in ("c2pa", "cryptography"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MienError, match=r"pip install 'mien\[engine,provenance\]'"):
            sign_shot(SignArguments(out, certificate=studio.chain, key=studio.key), Heard())
        assert verified(out / "shot.provenance.json")[0] == [], "a record that nobody signed needs none of them"

    def test_a_key_may_have_a_password(self, tmp_path):
        made = studio_files(tmp_path, password="secret")
        assert open_studio(made.chain, made.key, "secret").algorithm == "es256"
        for wrong in (None, "other"):
            with pytest.raises(MienError, match=r"key\.pem"):
                open_studio(made.chain, made.key, wrong)

    def test_a_foreign_key_is_refused(self, tmp_path, studio):
        other = studio_files(tmp_path)
        with pytest.raises(MienError, match="first certificate"):
            open_studio(studio.chain, other.key)

    def test_a_certificate_that_has_ended_does_not_count(self, tmp_path):
        made = studio_files(tmp_path, begin=-9, end=-2)
        opened = open_studio(made.chain, made.key)
        found = check(b"x", sign(opened, b"x"), opened.certificates, (made.root,))
        assert "valid from" in found.wrong

    def test_a_signer_cannot_vouch_for_others(self, tmp_path):
        made = studio_files(tmp_path)
        key = ec.generate_private_key(ec.SECP256R1())
        signer = x509.load_pem_x509_certificates(made.chain.read_bytes())[0]
        signing = serialization.load_pem_private_key(made.key.read_bytes(), None)
        forged = certificate("Forged", key, (signer, signing))
        pem = serialization.Encoding.PEM
        (tmp_path / "forged.pem").write_bytes(forged.public_bytes(pem) + made.chain.read_bytes())
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (tmp_path / "forged.key").write_bytes(key.private_bytes(pem, *plain))
        opened = open_studio(tmp_path / "forged.pem", tmp_path / "forged.key")
        found = check(b"x", sign(opened, b"x"), opened.certificates, (made.root,))
        assert not found.trusted

    @given(st.binary(max_size=80))
    @settings(max_examples=40)
    def test_no_other_bytes_pass_for_a_signature(self, studio, signature):
        certificates = studio.chain.read_text()
        assert check(b"x", signature, certificates, (studio.root,)).wrong
