"""The certificates on the controller: made, kept, renewed, changed, given; ``ssl`` says whether they are good."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOSTS = {"n1": ["n1", "10.0.0.1"], "n2": ["n2"]}
LATER = timedelta(380)
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def module(module_of: Callable[[str], ModuleType]) -> ModuleType:
    """The module."""
    return module_of("canopsis_certificates")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the authority will be."""
    return tmp_path / "site" / "tls"


@pytest.fixture
def make(module: ModuleType, folder: Path) -> Run:
    """Run the module for our own certificates, ``later`` than now."""

    def run(
        hosts: dict[str, list[str]] | None = None, later: timedelta = timedelta(), *, check: bool = False, **given: Any
    ) -> dict[str, Any]:
        asked = {"folder": str(folder), "hosts": hosts or HOSTS, **given}
        params = {name: option.get("default") for name, option in module.ARGUMENTS.items()} | asked
        found: dict[str, Any] = module.ours(params, datetime.now(UTC) + later, check_mode=check)
        return found

    return run


def texts(folder: Path) -> dict[str, str]:
    """Return every file there is."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def handshake(authorities: Path, certificate: Path, name: str) -> str:
    """Return why a client that trusts ``authorities`` refuses a server with ``certificate``, if it does."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=authorities)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server, server_hostname=name)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (asks, answers):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


def test_one_authority_and_a_certificate_for_each_host(make: Run, folder: Path) -> None:
    made = make()
    assert made["changed"]
    assert sorted(texts(folder)) == ["authority.pem", "ca.pem", "n1.pem", "n2.pem"]
    assert len(set(made["certificates"].values())) == 2
    assert [line for line in made["steps"] if "n1" in line] == ["make the certificate of n1: there is none"]


def test_keys_are_the_deployers_alone(make: Run, folder: Path) -> None:
    make()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"authority.pem": 0o600, "n1.pem": 0o600, "n2.pem": 0o600, "ca.pem": 0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in (folder / "ca.pem").read_text()


def test_nothing_that_is_returned_has_a_key(make: Run) -> None:
    assert "PRIVATE" not in str(make())


@pytest.mark.parametrize(("host", "name"), [("n1", "n1"), ("n1", "10.0.0.1"), ("n2", "n2")])
def test_clients_accept_each_host_by_its_names(make: Run, folder: Path, host: str, name: str) -> None:
    make()
    assert handshake(folder / "ca.pem", folder / f"{host}.pem", name) == ""


@pytest.mark.parametrize("name", ["n2", "10.0.0.2", "localhost"])
def test_clients_refuse_another_name(make: Run, folder: Path, name: str) -> None:
    make()
    assert "mismatch" in handshake(folder / "ca.pem", folder / "n1.pem", name)


def test_clients_refuse_another_authority(make: Run, folder: Path, tmp_path: Path) -> None:
    make()
    make(folder=str(tmp_path / "other"))
    assert "issuer" in handshake(tmp_path / "other" / "ca.pem", folder / "n1.pem", "n1")


def test_a_second_run_changes_nothing(make: Run, folder: Path) -> None:
    first, before = make(), texts(folder)
    second = make()
    assert (second["changed"], second["steps"], texts(folder)) == (False, [], before)
    assert second["authorities"] == first["authorities"]
    assert second["certificates"] == first["certificates"]


def test_check_mode_says_and_does_nothing(make: Run, folder: Path) -> None:
    told = make(check=True)
    assert told["changed"]
    assert len(told["steps"]) == 4
    assert told["certificates"] == {"n1": "", "n2": ""}
    assert not folder.exists()


def test_a_new_host_changes_nobody_elses(make: Run, folder: Path) -> None:
    make(hosts={"n1": HOSTS["n1"]})
    before = texts(folder)
    make()
    assert texts(folder) == before | {"n2.pem": (folder / "n2.pem").read_text()}


def test_a_lost_certificate_is_made_by_the_same_authority(make: Run, folder: Path) -> None:
    make()
    before = texts(folder)
    (folder / "n2.pem").unlink()
    assert make()["steps"] == ["make the certificate of n2: there is none"]
    after = texts(folder)
    assert after.pop("n2.pem") != before.pop("n2.pem")
    assert after == before


def test_a_certificate_near_its_end_is_made_anew(make: Run) -> None:
    first = make()
    assert not make(later=LATER - timedelta(14))["changed"]
    renewed = make(later=LATER)
    assert [line.partition(":")[2][:12] for line in renewed["steps"]] == [" it ends on "] * 2
    assert renewed["authorities"] == first["authorities"]
    assert not set(renewed["certificates"].values()) & set(first["certificates"].values())


def test_renewal_when_asked_for(make: Run) -> None:
    first = make()
    assert make(renew=True)["certificates"] != first["certificates"]


def test_a_rebuilt_host_gets_another(make: Run, folder: Path) -> None:
    make()
    before = texts(folder)
    assert make(blank=["n2"])["steps"] == ["make the certificate of n2: its host is new"]
    after = texts(folder)
    assert after.pop("n2.pem") != before.pop("n2.pem")
    assert after == before


def test_another_name_of_one_host(make: Run) -> None:
    make()
    made = make(hosts=HOSTS | {"n2": ["n2", "lb.example.com"]})
    assert made["steps"] == ["make the certificate of n2: it does not name lb.example.com"]


def test_a_certificate_lasts_no_longer_than_its_authority(make: Run, folder: Path) -> None:
    told = make(ca_days=40)
    authority, leaf = (x509.load_pem_x509_certificate(texts(folder)[name].encode()) for name in ("ca.pem", "n1.pem"))
    assert leaf.not_valid_after_utc == authority.not_valid_after_utc
    assert "change it with tls_ca_step=trust" in told["notes"][0]


def test_a_mixed_up_key_is_made_anew(make: Run, folder: Path) -> None:
    make()
    found = texts(folder)
    certificate = found["n1.pem"].partition("-----BEGIN PRIVATE")[0]
    key = "-----BEGIN PRIVATE" + found["n2.pem"].partition("-----BEGIN PRIVATE")[2]
    (folder / "n1.pem").write_text(certificate + key)
    assert make()["steps"] == ["make the certificate of n1: its key is another's"]


def test_a_broken_file_is_named(make: Run, module: ModuleType, folder: Path) -> None:
    make()
    (folder / "n1.pem").write_text("half a file")
    with pytest.raises(module.RefusedError, match=r"n1\.pem: no certificate in PEM"):
        make()


def test_an_authority_that_ended_is_refused(make: Run) -> None:
    make(ca_days=40)
    with pytest.raises(ValueError, match="the authority ended on"):
        make(later=timedelta(41))


def test_the_authority_changes_without_anybody_being_refused(make: Run, folder: Path, tmp_path: Path) -> None:
    first = make()
    old = tmp_path / "old-ca.pem"
    old.write_text((folder / "ca.pem").read_text())
    trusting = make(ca_step="trust")
    assert trusting["certificates"] == first["certificates"]
    assert trusting["authorities"] != first["authorities"]
    both = tmp_path / "both-ca.pem"
    both.write_text((folder / "ca.pem").read_text())
    assert handshake(both, folder / "n1.pem", "n1") == ""
    make(ca_step="sign")
    assert handshake(both, folder / "n1.pem", "n1") == ""
    assert "issuer" in handshake(old, folder / "n1.pem", "n1") or "self-signed" in handshake(
        old, folder / "n1.pem", "n1"
    )
    make(ca_step="retire")
    assert (folder / "ca.pem").read_text().count("BEGIN CERTIFICATE") == 1
    assert handshake(folder / "ca.pem", folder / "n1.pem", "n1") == ""


def test_the_old_chain_is_refused_at_the_end(make: Run, folder: Path, tmp_path: Path) -> None:
    make()
    leaf = tmp_path / "n1-before.pem"
    leaf.write_text((folder / "n1.pem").read_text())
    for step in ("trust", "sign"):
        make(ca_step=step)
        assert handshake(folder / "ca.pem", leaf, "n1") == ""
    make(ca_step="retire")
    assert handshake(folder / "ca.pem", leaf, "n1") != ""


@pytest.mark.parametrize("steps", [["trust"], ["trust", "sign"], ["trust", "sign", "retire"]])
def test_a_step_again_changes_nothing(make: Run, folder: Path, steps: list[str]) -> None:
    make()
    for step in steps:
        make(ca_step=step)
    before = texts(folder)
    assert not make(ca_step=steps[-1])["changed"]
    assert not make()["changed"]
    assert texts(folder) == before


def test_a_step_too_early_changes_nothing(make: Run, folder: Path) -> None:
    make()
    before = texts(folder)
    with pytest.raises(ValueError, match="tls_ca_step=trust first"):
        make(ca_step="sign")
    assert texts(folder) == before


def test_a_step_in_check_mode_changes_nothing(make: Run, folder: Path) -> None:
    make()
    for step in ("trust", "sign", "retire"):
        before = texts(folder)
        assert make(ca_step=step, check=True)["changed"]
        assert texts(folder) == before
        make(ca_step=step)


# --- certificates that an operator gives


@pytest.fixture
def give(module: ModuleType, make: Run, folder: Path) -> Run:
    """Run the module for given certificates: those that another run made, in place of a company's."""
    make()

    def run(
        given: dict[str, dict[str, str]] | None = None, later: timedelta = timedelta(), **more: Any
    ) -> dict[str, Any]:
        files = {
            host: {"certificate": str(folder / f"{host}.pem"), "key": str(folder / f"{host}.pem")} for host in HOSTS
        }
        asked = {"folder": "/none", "hosts": HOSTS, "ca_file": str(folder / "ca.pem"), "given": files | (given or {})}
        params = {name: option.get("default") for name, option in module.ARGUMENTS.items()} | asked | more
        found: dict[str, Any] = module.theirs(params, datetime.now(UTC) + later)
        return found

    return run


def test_good_ones_are_taken_and_nothing_is_made(give: Run, folder: Path) -> None:
    before = texts(folder)
    found = give()
    assert (found["changed"], found["notes"]) == (False, [])
    assert set(found["certificates"]) == set(HOSTS)
    assert texts(folder) == before


def test_one_that_ends_soon_is_told(give: Run) -> None:
    notes = give(later=LATER)["notes"]
    assert len(notes) == 2
    assert "give another in tls_certificate and tls_key" in notes[0]


def test_one_that_ended_is_refused(give: Run, module: ModuleType) -> None:
    with pytest.raises(module.RefusedError, match="n1: tls_certificate ended on"):
        give(later=timedelta(398))


def test_a_host_without_one_is_refused(give: Run, module: ModuleType) -> None:
    with pytest.raises(module.RefusedError, match="n2: tls_certificate and tls_key are not both given"):
        give(given={"n2": {"certificate": "/x.pem", "key": ""}})


def test_another_hosts_key_and_name_are_refused_at_once(give: Run, module: ModuleType, folder: Path) -> None:
    mixed = {"certificate": str(folder / "n2.pem"), "key": str(folder / "n1.pem")}
    with pytest.raises(module.RefusedError) as refused:
        give(given={"n1": mixed})
    assert "n1: tls_key is not the key" in str(refused.value)
    assert "n1: tls_certificate does not name n1, 10.0.0.1" in str(refused.value)


def test_another_authority_is_refused(give: Run, make: Run, module: ModuleType, tmp_path: Path) -> None:
    make(folder=str(tmp_path / "other"))
    with pytest.raises(module.RefusedError, match="does not end at a certificate in tls_ca_file"):
        give(ca_file=str(tmp_path / "other" / "ca.pem"))


def test_a_chain_over_an_authority_between_is_taken(give: Run, module: ModuleType, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    root, between = module.new_signer(100, now), module.new_signer(100, now)
    crossed = module.Signer(between.key, cross(root, between))
    chain = tmp_path / "n1.pem"
    chain.write_text(module.new_leaf("n1", HOSTS["n1"], crossed, 50, now) + crossed.pem)
    ca = tmp_path / "ca.pem"
    ca.write_text(root.pem)
    files = {"n1": {"certificate": str(chain), "key": str(chain)}}
    assert give(given=files, hosts={"n1": HOSTS["n1"]}, ca_file=str(ca))["certificates"]["n1"]


def cross(root: Any, between: Any) -> x509.Certificate:
    """Return a certificate of the authority ``between`` that ``root`` signed."""
    own = between.certificate
    builder = x509.CertificateBuilder(
        issuer_name=root.certificate.subject,
        subject_name=own.subject,
        public_key=own.public_key(),
        serial_number=1,
        not_valid_before=own.not_valid_before_utc,
        not_valid_after=own.not_valid_after_utc,
    )
    signed: x509.Certificate = builder.sign(root.key, own.signature_hash_algorithm)
    return signed


def test_a_key_with_a_password_is_refused(give: Run, module: ModuleType, tmp_path: Path, folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    path = tmp_path / "locked.key"
    path.write_bytes(key)
    with pytest.raises(module.RefusedError, match=r"n1: .*locked\.key: the key has a password"):
        give(given={"n1": {"certificate": str(folder / "n1.pem"), "key": str(path)}})


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("x", "no certificate in PEM")])
def test_a_file_that_is_no_certificate_is_named(
    give: Run, module: ModuleType, tmp_path: Path, content: str | None, why: str
) -> None:
    path = tmp_path / "theirs.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(module.RefusedError, match=f"n1: .*theirs.pem: {why}"):
        give(given={"n1": {"certificate": str(path), "key": str(path)}})
