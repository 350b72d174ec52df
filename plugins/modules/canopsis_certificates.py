#!/usr/bin/python
"""Make the certificates that the hosts of a site lack, on the controller."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_certificates import (
    STEPS,
    Asked,
    Leaf,
    authority_note,
    blocks,
    plan,
    problems,
    rotation,
)

DOCUMENTATION = r"""
---
module: canopsis_certificates
short_description: The authority of a site and a certificate for each host
description:
  - Runs on the controller. Makes what is missing, ends soon, or does not name its host, and keeps everything else.
  - With O(ca_file) it makes nothing and checks the certificates that are given.
  - Keys are never returned or shown.
options:
  folder: {description: Where the authority and the certificates are kept., type: path, required: true}
  hosts: {description: Names and addresses of each host., type: dict, required: true}
  days: {description: How long a certificate lasts., type: int, default: 397}
  ca_days: {description: How long an authority lasts., type: int, default: 3650}
  renewal_days: {description: How long before its end a certificate is made anew., type: int, default: 30}
  renew: {description: Make every certificate anew., type: bool, default: false}
  blank: {description: Hosts that have no key yet; one is made anew for each., type: list, elements: str, default: []}
  ca_step: {description: Step of a change of the authority., type: str, default: "", choices: ["", trust, sign, retire]}
  ca_file: {description: Authorities of certificates that are given; empty for ours., type: str, default: ""}
  given: {description: Files certificate and key by host., type: dict, default: {}}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Have the certificates
  canopsis_certificates:
    folder: "{{ inventory_dir }}/group_vars/canopsis/tls"
    hosts: {h1: [h1, 192.0.2.1]}
"""

RETURN = r"""
steps:
  description: What was made, and why.
  type: list
  elements: str
  returned: always
notes:
  description: What needs attention soon.
  type: list
  elements: str
  returned: always
authorities:
  description: Fingerprint of the file of trusted authorities.
  type: str
  returned: always
certificates:
  description: Fingerprint of the certificate by host.
  type: dict
  returned: always
"""

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    PROBLEM = ""
except ImportError as error:
    PROBLEM = f"{error}: this module runs on the controller, with the Python that has ansible-core"

ARGUMENTS: dict[str, Any] = {
    "folder": {"type": "path", "required": True},
    "hosts": {"type": "dict", "required": True},
    "days": {"type": "int", "default": 397},
    "ca_days": {"type": "int", "default": 3650},
    "renewal_days": {"type": "int", "default": 30},
    "renew": {"type": "bool", "default": False},
    "blank": {"type": "list", "elements": "str", "default": []},
    "ca_step": {"type": "str", "default": "", "choices": list(STEPS)},
    "ca_file": {"type": "str", "default": ""},
    "given": {"type": "dict", "default": {}},
}
SKEW = timedelta(hours=1)
"""Certificates begin this long ago: clocks of hosts differ."""


class RefusedError(Exception):
    """What was asked cannot be done; the text says why and what to do."""


@dataclass(frozen=True)
class Signer:
    """An authority with its key."""

    key: Any
    certificate: Any

    @property
    def pem(self) -> str:
        """The certificate."""
        return str(self.certificate.public_bytes(serialization.Encoding.PEM).decode())


def fingerprint(certificate: Any) -> str:  # noqa: ANN401 - cryptography may be absent
    """Return the SHA-256 of a certificate in hex."""
    return str(certificate.fingerprint(hashes.SHA256()).hex())


def save(path: Path, text: str, mode: int = 0o600) -> None:
    """Put a file in the place of ``path``; nobody else can read it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def key_of(text: str, path: Path) -> Any:  # noqa: ANN401 - cryptography may be absent
    """Return the private key in a PEM text. Raises RefusedError naming ``path``."""
    try:
        return serialization.load_pem_private_key(blocks(text, key=True).encode(), None)
    except TypeError as error:
        raise RefusedError(f"{path}: the key has a password; services start without a terminal to type it") from error
    except ValueError as error:
        raise RefusedError(f"{path}: no private key in PEM in it") from error


def certificates_of(text: str, path: Path) -> list[Any]:
    """Return the certificates in a PEM text. Raises RefusedError naming ``path``."""
    try:
        return list(x509.load_pem_x509_certificates(blocks(text, key=False).encode()))
    except ValueError as error:
        raise RefusedError(f"{path}: no certificate in PEM in it") from error


def read(path: Path) -> str:
    """Return a text file. Raises RefusedError naming it."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{path}: {getattr(error, 'strerror', None) or 'it is not PEM'}") from error


def issued_by(certificate: Any, authority: Any) -> bool:  # noqa: ANN401 - cryptography may be absent
    """Tell whether ``authority`` signed ``certificate``."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def root_of(chain: Sequence[Any], trusted: Sequence[Any]) -> str:
    """Return the fingerprint of the one of ``trusted`` that ``chain`` (own certificate first) ends at, or nothing."""
    certificate, further = chain[0], list(chain[1:])
    while True:
        found = next((authority for authority in trusted if issued_by(certificate, authority)), None)
        if found is not None:
            return fingerprint(found)
        above = next((each for each in further if issued_by(certificate, each)), None)
        if above is None:
            return ""
        further.remove(above)
        certificate = above


def leaf_of(text: str, key_text: str, trusted: Sequence[Any], path: Path, key_path: Path) -> Leaf:
    """Return what the planner has to know of a certificate. Raises RefusedError."""
    chain, key = certificates_of(text, path), key_of(key_text, key_path)
    own = chain[0]
    return Leaf(
        names=names_of(own),
        begins=own.not_valid_before_utc,
        ends=own.not_valid_after_utc,
        issuer=root_of(chain, trusted),
        matches=own.public_key() == key.public_key(),
    )


def names_of(certificate: Any) -> frozenset[str]:  # noqa: ANN401 - cryptography may be absent
    """Return the names and addresses of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = {str(address) for address in found.get_values_for_type(x509.IPAddress)}
    return frozenset(name.lower() for name in found.get_values_for_type(x509.DNSName)) | addresses


def alternatives(names: Sequence[str]) -> Any:  # noqa: ANN401 - cryptography may be absent
    """Return the extension with ``names``; addresses also as names, for librabbitmq compares no others."""
    found: list[Any] = [x509.DNSName(name) for name in names]
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            continue
    return x509.SubjectAlternativeName(found)


def _build(subject: str, issuer: Any, public: Any, ends: datetime, now: datetime) -> Any:  # noqa: ANN401
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]),
        issuer_name=issuer or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]),
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - SKEW,
        not_valid_after=ends,
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(*, authority: bool) -> Any:  # noqa: ANN401 - cryptography may be absent
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    unused = dict.fromkeys((*names, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **unused)


def new_signer(days: int, now: datetime) -> Signer:
    """Make an authority. Its name is its own, so that two of them can be told apart."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _build(
        f"Canopsis CA {now:%Y-%m-%d} {os.urandom(4).hex()}", None, key.public_key(), now + timedelta(days), now
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    return Signer(key, builder.sign(key, hashes.SHA256()))


def new_leaf(host: str, names: Sequence[str], signer: Signer, days: int, now: datetime) -> str:
    """Return certificate and key of ``host`` as PEM; it ends no later than its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    ends = min(now + timedelta(days), signer.certificate.not_valid_after_utc)
    builder = _build(host, signer.certificate.subject, key.public_key(), ends, now)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(authority=False), True),
    ):
        builder = builder.add_extension(extension, critical=critical)
    for extension in (above, purposes, alternatives(names)):
        builder = builder.add_extension(extension, critical=False)
    return pem(Signer(key, builder.sign(signer.key, hashes.SHA256())))


def pem(signer: Signer) -> str:
    """Return certificate and key as PEM."""
    key = signer.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signer.pem + str(key.decode())


class Folder:
    """The folder on the controller. Key and certificate share a file, so that they change together."""

    def __init__(self, params: dict[str, Any], now: datetime, *, check_mode: bool) -> None:
        self.path = Path(params["folder"])
        self.params, self.now, self.check_mode = params, now, check_mode
        self.current, self.following, self.old = (self._signer(name) for name in ("authority", "next", "old"))
        self.steps: list[str] = []

    def _signer(self, name: str) -> Signer | None:
        path = self.path / f"{name}.pem"
        if not path.exists():
            return None
        text = read(path)
        key = None if name == "old" else key_of(text, path)
        return Signer(key, certificates_of(text, path)[0])

    def rotate(self) -> Signer:
        """Do the step that is asked for, and return the authority that signs. Raises ValueError."""
        step = self.params["ca_step"]
        action = rotation(step, bool(self.current), bool(self.following), bool(self.old))
        if self.current is None or action == "create":
            self.current = self._new("authority")
        elif action == "add":
            self.following = self._new("next")
        elif action == "switch" and self.following:
            self._switch(self.current, self.following)
        elif action == "retire":
            self._retire()
        return self.current

    def _new(self, name: str) -> Signer:
        signer = new_signer(self.params["ca_days"], self.now)
        self.write(f"{name}.pem", pem(signer), f"make the authority {name}.pem")
        return signer

    def _switch(self, current: Signer, following: Signer) -> None:
        self.write("old.pem", current.pem, "trust the authority of before as old.pem")
        self.steps.append("sign with next.pem from now on")
        if not self.check_mode:
            (self.path / "next.pem").replace(self.path / "authority.pem")
        self.old, self.current, self.following = current, following, None

    def _retire(self) -> None:
        self.steps.append("trust old.pem no longer")
        self.old = None
        if not self.check_mode:
            (self.path / "old.pem").unlink()

    def write(self, name: str, text: str, why: str, mode: int = 0o600) -> None:
        """Write a file unless in check mode, and remember why."""
        self.steps.append(why)
        if not self.check_mode:
            save(self.path / name, text, mode)

    def trust(self) -> str:
        """Have ``ca.pem`` with every trusted authority; return its text."""
        # In an order that outlasts a change of the signer: nobody who trusts the same restarts for it.
        text = "".join(sorted(signer.pem for signer in (self.current, self.following, self.old) if signer))
        path = self.path / "ca.pem"
        if not path.exists() or read(path) != text:
            self.write("ca.pem", text, "write ca.pem", 0o644)
        return text

    def leaves(self, signer: Signer, asked: Asked) -> dict[str, str]:
        """Make the certificates that are to be made; return the fingerprint of each host's."""
        hosts = self.params["hosts"]
        trusted = [each.certificate for each in (signer, self.old) if each]
        found = {host: self._leaf(host, trusted) for host in hosts}
        for step in plan(hosts, found, fingerprint(signer.certificate), asked):
            text = new_leaf(step.host, hosts[step.host], signer, self.params["days"], self.now)
            self.write(f"{step.host}.pem", text, f"make the certificate of {step.host}: {step.why}")
        return {host: self._fingerprint(host) for host in hosts}

    def _leaf(self, host: str, trusted: Sequence[Any]) -> Leaf | None:
        path = self.path / f"{host}.pem"
        if not path.exists():
            return None
        text = read(path)
        return leaf_of(text, text, trusted, path, path)

    def _fingerprint(self, host: str) -> str:
        path = self.path / f"{host}.pem"
        return fingerprint(certificates_of(read(path), path)[0]) if path.exists() else ""


def ours(params: dict[str, Any], now: datetime, *, check_mode: bool) -> dict[str, Any]:
    """Have the authority and the certificates of the site. Raises RefusedError or ValueError."""
    asked = Asked(now, timedelta(params["renewal_days"]), params["renew"], frozenset(params["blank"]))
    folder = Folder(params, now, check_mode=check_mode)
    signer = folder.rotate()
    note = authority_note(signer.certificate.not_valid_after_utc, asked, timedelta(params["days"]))
    trusted, leaves = folder.trust(), folder.leaves(signer, asked)
    return _result(folder.steps, [note] if note else [], trusted, leaves)


def theirs(params: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Check the certificates that are given; all that is wrong at once. Raises RefusedError."""
    hosts, given = params["hosts"], params["given"]
    lacking = [
        f"{host}: tls_certificate and tls_key are not both given" for host in hosts if not _complete(given, host)
    ]
    path = Path(params["ca_file"])
    text = read(path)
    trusted = certificates_of(text, path)
    wrong, leaves, seen = lacking, {}, {}
    for host in hosts if not lacking else ():
        try:
            leaves[host], seen[host] = _given(given[host], trusted)
        except RefusedError as error:
            wrong.append(f"{host}: {error}")
    wrong += problems(hosts, leaves, now)
    if wrong:
        raise RefusedError("certificates that are given are refused:\n" + "\n".join(wrong))
    notes = [
        f"the certificate of {host} ends on {leaf.ends:%Y-%m-%d}: give another in tls_certificate and tls_key"
        for host, leaf in leaves.items()
        if leaf.ends - timedelta(params["renewal_days"]) <= now
    ]
    return _result([], notes, text, seen)


def _complete(given: dict[str, dict[str, str]], host: str) -> bool:
    return all(given.get(host, {}).get(part) for part in ("certificate", "key"))


def _given(files: dict[str, str], trusted: Sequence[Any]) -> tuple[Leaf, str]:
    path, key_path = Path(files["certificate"]), Path(files["key"])
    text = read(path)
    return leaf_of(text, read(key_path), trusted, path, key_path), fingerprint(certificates_of(text, path)[0])


def _result(steps: list[str], notes: list[str], trusted: str, leaves: dict[str, str]) -> dict[str, Any]:
    return {
        "changed": bool(steps),
        "steps": steps,
        "notes": notes,
        "authorities": sha256(trusted.encode()).hexdigest(),
        "certificates": leaves,
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in steps)},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    """Make or check, and return the result. Raises RefusedError or ValueError."""
    now = datetime.now(UTC)
    if module.params["ca_file"]:
        return theirs(module.params, now)
    return ours(module.params, now, check_mode=module.check_mode)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if PROBLEM:
        module.fail_json(msg=PROBLEM)
    try:
        module.exit_json(**run(module))
    except (RefusedError, ValueError) as error:
        module.fail_json(msg=f"TLS: {error}")
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; tls_folder has to be writable on the controller")


if __name__ == "__main__":
    main()
