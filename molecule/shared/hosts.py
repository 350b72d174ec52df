"""Makes and removes the hosts of a scenario, and what they need: image, network, key, secrets, packages.

`hosts.py create SCENARIO` and `hosts.py destroy SCENARIO`; create.yml and destroy.yml call it. Variables:
CANOPSIS_TEST_ENGINE (podman or docker), CANOPSIS_TEST_IMAGE, CANOPSIS_TEST_CACHE, CANOPSIS_TEST_BUNDLE.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from plugins.module_utils import canopsis_secrets  # noqa: E402  the checkout is no package

CACHE = Path(os.environ.get("CANOPSIS_TEST_CACHE") or Path.home() / ".cache/canopsis-tests") / "molecule"
SETTINGS = CACHE / "containers.conf"
PREFIX = "ml"
NETWORK = "canopsis-molecule"
WAIT = 60
"""Seconds that a host has until its sshd answers."""

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=9000:9000"]
cgroupns = "private"
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
"""For hosts where podman's own choice (crun, cgroups by systemd) cannot start a container."""


class UnableError(Exception):
    """A host cannot be made; the text says why and what to do."""


def run(command: Sequence[str], text: str | None = None) -> str:
    """Return what ``command`` prints. Raises UnableError with its errors."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnableError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def works(command: Sequence[str]) -> bool:
    """Return whether ``command`` succeeds."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def find_engine() -> str:
    """Return podman or docker. Raises UnableError when neither is installed."""
    names = [os.environ["CANOPSIS_TEST_ENGINE"]] if "CANOPSIS_TEST_ENGINE" in os.environ else ["podman", "docker"]
    for name in names:
        if shutil.which(name):
            return name
    raise UnableError(f"no {' or '.join(names)} here: sudo apt-get install --no-install-recommends podman")


def find_image(engine: str, release: str) -> str:
    """Return the image of ``release``, built when it is not there and none is named."""
    named = os.environ.get("CANOPSIS_TEST_IMAGE")
    image = named or f"localhost/canopsis-host:{release}"
    if not named and not works([engine, "image", "inspect", image]):
        run([str(ROOT / "molecule/images/build.sh"), release])
    return image


def use_own_settings() -> None:
    """Let podman use the configuration that an earlier run found to be needed."""
    if SETTINGS.exists():
        os.environ.setdefault("CONTAINERS_CONF", str(SETTINGS))


def fit_engine(engine: str, image: str) -> None:
    """Point podman at a configuration of ours when it cannot start a container with its own. Raises UnableError."""
    trial = [engine, "run", "--rm", image, "/bin/true"]
    if works(trial):
        return
    if engine == "podman":
        SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        SETTINGS.write_text(CONTAINERS_CONF)
        os.environ["CONTAINERS_CONF"] = str(SETTINGS)
    run(trial)


def settle_engine(releases: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Return the engine, able to start containers, and the image of each release."""
    engine = find_engine()
    use_own_settings()
    images = {release: find_image(engine, release) for release in sorted(set(releases))}
    fit_engine(engine, next(iter(images.values())))
    return engine, images


def find_key() -> Path:
    """Return the private key that logs in to test hosts, made once."""
    key = CACHE / "key"
    if not key.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "canopsis-test", "-f", str(key)])
    return key


# --- packages -----------------------------------------------------------------------------------


def pip_settings() -> dict[str, str]:
    """Return pip's settings of this machine as environment variables."""
    lines = run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    pairs = [line.partition("=") for line in lines]
    return {f"PIP_{name.rpartition('.')[2].replace('-', '_').upper()}": value.strip("'\"") for name, _, value in pairs}


def paths_of(values: Iterable[str]) -> Iterator[str]:
    """Yield the paths of this machine that settings name; of an index of files its whole folder."""
    for word in " ".join(values).replace("\\n", " ").split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            yield str(path.parent if word.startswith("file://") else path)


def trust() -> dict[str, str]:
    """Return the folders of trusted certificates, which a proxy of this machine may need."""
    folders = ("/etc/ssl/certs", "/usr/local/share/ca-certificates")
    return {folder: folder for folder in folders if Path(folder).exists()}


def pins() -> str:
    """Return what changes with anything that says what is in a bundle."""
    files = [path for path in sorted((ROOT / "packages").rglob("*")) if path.is_file()]
    files += [ROOT / "requirements" / f"{name}.txt" for name in ("build", "deploy", "runtime")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def make_bundle(engine: str, image: str, release: str) -> Path:
    """Return the bundle of packages for ``release``, fetched in a container of the image whenever their pins change."""
    bundle = Path(os.environ.get("CANOPSIS_TEST_BUNDLE") or CACHE / f"bundle-{release}-{pins()}.tar")
    if bundle.exists():
        return bundle
    CACHE.mkdir(parents=True, exist_ok=True)
    for older in CACHE.glob(f"bundle-{release}*.tar"):
        older.unlink()
    settings = pip_settings() | {name: value for name, value in os.environ.items() if name.startswith("SSL_")}
    mounts = {path: path for path in paths_of(settings.values()) if not path.startswith("/etc/ssl/certs")} | trust()
    command = [engine, "run", "--rm", "--network", "host"]
    command += [word for path in mounts for word in ("--volume", f"{path}:{path}:ro")]
    command += ["--volume", f"{ROOT}:/source:ro", "--volume", f"{CACHE}:/out"]
    command += [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    script = (
        "/source/build-install.sh fetch --prefix /srv/prefix --quiet &&"
        f" /source/build-install.sh bundle --prefix /srv/prefix --output /out/making-{release}.tar"
    )
    run([*command, image, "/bin/sh", "-c", script])
    (CACHE / f"making-{release}.tar").rename(bundle)
    return bundle


# --- hosts --------------------------------------------------------------------------------------


def scenario_folder(scenario: str) -> Path:
    """Return a scenario's folder. Raises UnableError when there is none."""
    folder = ROOT / "molecule" / scenario
    if not (folder / "inventory/hosts.yml").exists():
        raise UnableError(f"no scenario {scenario} in {folder.parent}")
    return folder


def inventory_of(scenario: str) -> dict[str, Any]:
    """Return the inventory of a scenario as it is written."""
    text = (scenario_folder(scenario) / "inventory/hosts.yml").read_text()
    inventory: dict[str, Any] = yaml.safe_load(text)
    return inventory


def hosts_of(inventory: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the hosts below the group canopsis and those of the group spare, in their order, with their variables."""
    found: dict[str, dict[str, Any]] = {}
    for group in [*inventory["canopsis"]["children"].values(), inventory.get("spare") or {}]:
        for name, variables in group.get("hosts", {}).items():
            found.setdefault(name, {}).update(variables or {})
    return found


def releases_of(inventory: dict[str, Any]) -> dict[str, str]:
    """Return the Debian release of each host: its own ``test_release``, else that of all, else bookworm."""
    common = inventory["canopsis"].get("vars", {}).get("test_release", "bookworm")
    return {name: variables.get("test_release", common) for name, variables in hosts_of(inventory).items()}


def refuse_one_for_all(releases: set[str]) -> None:
    """Raise UnableError where hosts of several releases would get the one image or bundle that a variable names."""
    named = [name for name in ("CANOPSIS_TEST_IMAGE", "CANOPSIS_TEST_BUNDLE") if os.environ.get(name)]
    if named and len(releases) > 1:
        raise UnableError(f"the hosts are of {' and '.join(sorted(releases))}: unset {' and '.join(named)}")


def container_of(scenario: str, host: str) -> str:
    """Return the name of the container that is ``host``."""
    return f"{PREFIX}-{scenario}-{host}"


def start_host(engine: str, image: str, scenario: str, host: str) -> int:
    """Start a fresh container as ``host`` and return the port of its sshd on 127.0.0.1."""
    name = container_of(scenario, host)
    subprocess.run([engine, "rm", "--force", name], capture_output=True, check=False)
    systemd = ["--systemd=always"] if engine == "podman" else ["--privileged", "--cgroupns=private", "--tmpfs=/run"]
    network = ["--network", f"{NETWORK}-{scenario}", "--network-alias", host]
    command = [engine, "run", "--detach", *systemd, *network, "--name", name, "--hostname", host]
    run([*command, "--publish", "127.0.0.1::22", image, "/lib/systemd/systemd"])
    public = find_key().with_suffix(".pub").read_text()
    script = "mkdir -p -m 700 /root/.ssh && cat >/root/.ssh/authorized_keys"
    run([engine, "exec", "--interactive", name, "/bin/sh", "-c", script], text=public)
    return int(run([engine, "port", name, "22/tcp"]).splitlines()[0].rpartition(":")[2])


def first_process(engine: str, scenario: str, host: str) -> int:
    """Return the process of this machine in whose namespaces ``host`` lives."""
    return int(run([engine, "inspect", "--format", "{{.State.Pid}}", container_of(scenario, host)]))


def await_ssh(port: int) -> None:
    """Return when sshd answers on ``port``. Raises UnableError after WAIT seconds."""
    pause = threading.Event()
    for _ in range(WAIT * 4):
        if works(["ssh", *SSH_OPTIONS, "-i", str(find_key()), "-p", str(port), "root@127.0.0.1", "true"]):
            return
        pause.wait(0.25)
    raise UnableError(f"sshd on 127.0.0.1:{port} did not answer within {WAIT} s")


SSH_OPTIONS = ("-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oConnectTimeout=2")


def connection(port: int, bundle: Path | None) -> dict[str, Any]:
    """Return how Ansible reaches a host, and where its packages are."""
    variables = {
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(find_key()),
        "ansible_ssh_common_args": " ".join(SSH_OPTIONS[:3]),
    }
    return variables | ({"canopsis_bundle": str(bundle)} if bundle else {})


def write(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def create(scenario: str) -> None:
    """Make the hosts of ``scenario`` and what its inventory lacks: connections and secrets."""
    releases = releases_of(inventory_of(scenario))
    refuse_one_for_all(set(releases.values()))
    engine, images = settle_engine(releases.values())
    bundles = {release: make_bundle(engine, image, release) for release, image in images.items()}
    if not works([engine, "network", "inspect", f"{NETWORK}-{scenario}"]):
        run([engine, "network", "create", f"{NETWORK}-{scenario}"])
    folder = scenario_folder(scenario) / "inventory"
    ports = {host: start_host(engine, images[release], scenario, host) for host, release in releases.items()}
    for host, port in ports.items():
        variables = connection(port, bundles[releases[host]]) | {"test_pid": first_process(engine, scenario, host)}
        write(folder / "host_vars" / f"{host}.yml", yaml.safe_dump(variables))
        await_ssh(port)
    secrets = {name: canopsis_secrets.KINDS[kind](os.urandom) for name, kind in all_secrets().items()}
    write(folder / "group_vars/canopsis/secrets.yml", canopsis_secrets.render(secrets))


def all_secrets() -> dict[str, str]:
    """Return every secret of a site, kind by name."""
    return canopsis_secrets.names_for(canopsis_secrets.SECRETS)


def destroy(scenario: str) -> None:
    """Remove the hosts of ``scenario`` and what creating them wrote."""
    engine = find_engine()
    use_own_settings()
    for host in hosts_of(inventory_of(scenario)):
        subprocess.run([engine, "rm", "--force", container_of(scenario, host)], capture_output=True, check=False)
    subprocess.run([engine, "network", "rm", f"{NETWORK}-{scenario}"], capture_output=True, check=False)
    folder = scenario_folder(scenario) / "inventory"
    for made in ("host_vars", "group_vars/canopsis/tls"):
        shutil.rmtree(folder / made, ignore_errors=True)
    (folder / "group_vars/canopsis/secrets.yml").unlink(missing_ok=True)


def main() -> int:
    """Do what the arguments name; return 1 with the reason when it cannot be done."""
    verbs = {"create": create, "destroy": destroy}
    if len(sys.argv) != 3 or sys.argv[1] not in verbs:
        sys.stderr.write("usage: hosts.py create|destroy SCENARIO\n")
        return 2
    try:
        verbs[sys.argv[1]](sys.argv[2])
    except UnableError as error:
        sys.stderr.write(f"hosts.py: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
