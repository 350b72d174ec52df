"""The members of a replica set, spoken to one by one: what they say, and the steps of a plan done to them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeVar

from ansible.module_utils.canopsis_replica_set import Account, Member, Step, plan_accounts
from ansible.module_utils.canopsis_wait import await_true

try:
    from pymongo import MongoClient
    from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

    PROBLEM = ""
    ERRORS: tuple[type[Exception], ...] = (PyMongoError,)
except ImportError as error:
    ERRORS = ()
    PROBLEM = f"{error}: run this module with the Python of the package canopsis (ansible_python_interpreter)"

UNAUTHORIZED, AUTHENTICATION_FAILED, ALREADY_INITIALIZED, UNMAPPED = 13, 18, 23, 74
# Another configuration is under way, nobody has caught up yet, or another member has become primary: the same call
# does it a moment later. pymongo raises NotPrimaryError, no OperationFailure, for most of the last.
PASSING = frozenset({91, 103, 109, 189, 262, 308, 10058, 10107, 11600, 11602, 13435, 13436})
T = TypeVar("T")


class RefusedError(Exception):
    """The plan refuses, or a server does; the text says why and what to do."""


def login_refused(error: Exception) -> bool:
    """Whether a login was refused. pymongo may hide it in the timeout of a direct connection."""
    return getattr(error, "code", None) == AUTHENTICATION_FAILED or "Authentication failed" in str(error)


def passes(error: Exception) -> bool:
    """Whether the same call may do a moment later: a connection that an election closed, or one of ``PASSING``."""
    return isinstance(error, AutoReconnect) or getattr(error, "code", None) in PASSING


def words(error: Exception) -> str:
    """Return what an error says to a reader, without the server's whole document."""
    return str(error).partition(", full error:")[0]


def listens(address: str) -> bool:
    """Whether anybody takes connections at ``address``; pymongo would wait for one that refuses them."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2.0).close()
    except OSError:
        return False
    return True


class ReplicaSet:
    """The set of the parameters: ``name members local admin_user admin_password users tls_ca timeout sync_timeout``."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self._clients: dict[tuple[str, str], Any] = {}
        self._heard: set[str] = set()
        self._leader = ""

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def client(self, address: str, user: str = "", password: str = "") -> Any:  # noqa: ANN401 - pymongo may be absent
        """Return a client of one member; without ``user`` it is nobody."""
        key = (address, f"{user}\0{password}")
        if key not in self._clients:
            login: dict[str, Any] = {"username": user, "password": password, "authSource": "admin"} if user else {}
            self._clients[key] = MongoClient(
                f"mongodb://{address}/",
                directConnection=True,
                serverSelectionTimeoutMS=2000,
                connectTimeoutMS=2000,
                **login,
                **self._tls(address),
            )
        return self._clients[key]

    def _tls(self, address: str) -> dict[str, Any]:
        """Return the options of TLS. A certificate names its host, which loopback is by another name."""
        if not self.params.get("tls_ca"):
            return {}
        loopback = address.startswith("127.")
        return {"tls": True, "tlsCAFile": self.params["tls_ca"], "tlsAllowInvalidHostnames": loopback}

    def admin(self, address: str) -> Any:  # noqa: ANN401 - pymongo may be absent
        """Return the admin database of ``address`` as the administrator."""
        return self.client(address, self.params["admin_user"], self.params["admin_password"]).admin

    def logs_in(self, address: str, user: str, password: str) -> bool:
        """Whether ``password`` is that of ``user``."""
        try:
            self.client(address, user, password).admin.command("ping")
        except PyMongoError as error:
            if not login_refused(error):
                raise
            self._clients.pop((address, f"{user}\0{password}")).close()
            return False
        return True

    def surely_logs_in(self, address: str, user: str, password: str) -> bool:
        """Whether ``password`` is that of ``user``; who is too busy to say so is asked again until the timeout."""
        said: list[bool] = []
        errors: list[PyMongoError] = []

        def answers() -> bool:
            try:
                said.append(self.logs_in(address, user, password))
            except PyMongoError as error:
                errors.append(error)
            return bool(said)

        if not await_true(answers, self.params["timeout"]):
            raise errors[-1]
        return said[0]

    # -- what is there --

    def hello(self, address: str) -> dict[str, Any]:
        """Return what the member says of itself; empty when it cannot be reached."""
        if address not in self._heard and not listens(address):
            return {}
        try:
            said = dict(self.client(address).admin.command("hello"))
        except OperationFailure:
            raise
        except PyMongoError:
            self._heard.discard(address)
            return {}
        self._heard.add(address)
        return said

    def observe(self, address: str) -> Member:
        """Return one member as it is."""
        said, wanted = self.hello(address), address in self.params["members"]
        if not said:
            return Member(address, reachable=False, wanted=wanted)
        state = "PRIMARY" if said.get("isWritablePrimary") else "SECONDARY" if said.get("secondary") else "OTHER"
        admits, config = self._config(address)
        return Member(
            address,
            set_name=said.get("setName", ""),
            set_id=str(config["settings"]["replicaSetId"]) if config else "",
            config=(*said.get("hosts", ()), *said.get("passives", ()), *said.get("arbiters", ())),
            state=state,
            writable=state == "PRIMARY",
            voteless=tuple(member["host"] for member in config.get("members", ()) if _unfinished(member)),
            known_as=said.get("me", ""),
            holds=admits,
            newest=_newest(said),
            wanted=wanted,
        )

    def _config(self, address: str) -> tuple[bool, dict[str, Any]]:
        """Return whether the administrator may log in, and the member's configuration as far as it has one."""
        try:
            if not self.logs_in(address, self.params["admin_user"], self.params["admin_password"]):
                return False, {}
            return True, dict(self.admin(address).command("replSetGetConfig")["config"])
        except OperationFailure:
            return True, {}
        except PyMongoError:
            return False, {}

    def observed(self) -> list[Member]:
        """Return every wanted member and those that the set has beyond them. An election is given its time."""
        seen: list[Member] = []

        def settled() -> bool:
            seen[:] = self._look() if self._settled() else []
            # A primary may step down, or be too busy for an answer, between the two.
            return any(member.writable for member in seen) or bool(seen and not any(m.set_name for m in seen))

        return seen if await_true(settled, self.params["timeout"]) else seen or self._look()

    def _look(self) -> list[Member]:
        wanted = [self.observe(address) for address in self.params["members"]]
        known = {address for member in wanted for address in member.config}
        return wanted + [self.observe(address) for address in sorted(known - set(self.params["members"]))]

    def _settled(self) -> bool:
        """Whether there is a primary; or nobody has a set, nor can be about to read that it has one."""
        said = {address: answer for address in self.params["members"] if (answer := self.hello(address))}
        if any(answer.get("isWritablePrimary") for answer in said.values()):
            return True
        if any(answer.get("setName") for answer in said.values()):
            return bool(self._find_primary())
        return bool(said) and not any(self._config(address)[0] for address in said)

    def _find_primary(self) -> str:
        """Return the address of the primary, whichever member knows of it; '' when there is none."""
        for address in (self._leader, *self.params["members"]):
            said = self.hello(address) if address else {}
            named = address if said.get("isWritablePrimary") else said.get("primary", "")
            if named and (named == address or self.hello(named).get("isWritablePrimary")):
                self._leader = named
                return str(named)
        return ""

    def primary(self) -> str:
        """Return the address of the primary. Raises RefusedError when there is none for the timeout."""
        if not await_true(lambda: bool(self._find_primary()), self.params["timeout"]):
            raise RefusedError("the set has no primary: bring back a majority of its members first")
        return self._leader

    # -- steps --

    def apply(self, step: Step) -> None:
        """Do one step and wait until it has taken effect. Raises RefusedError when it does not in time."""
        acts: dict[str, Callable[[], None]] = {
            "initiate": lambda: self._initiate(step.address),
            "add": lambda: self._add(step.address),
            "vote": lambda: self._vote(step.address),
            "await": lambda: self._await_data(step.address),
            "step down": lambda: self._step_down(step.address),
            "remove": lambda: self._remove(step.address),
            "force": lambda: self._force(step.address, step.members),
        }
        acts[step.action]()

    def _initiate(self, address: str) -> None:
        config = {"_id": self.params["name"], "members": [{"_id": 0, "host": address}]}
        try:
            self.client(self.params["local"]).admin.command("replSetInitiate", config)
        except OperationFailure as error:
            if error.code == ALREADY_INITIALIZED:
                raise RefusedError(f"{address} is in a set already and says so late: run site.yml again") from error
            if error.code == UNMAPPED:
                raise RefusedError(f"{address} is not this host by its own resolver: set canopsis_address") from error
            raise
        if not await_true(lambda: bool(self.hello(address).get("isWritablePrimary")), self.params["timeout"]):
            raise RefusedError(
                f"{address} is no primary {self.params['timeout']:g} s after replSetInitiate; see its log"
            )

    def _add(self, address: str) -> None:
        self._reconfigure(lambda members: with_newcomer(members, address))
        self._await_data(address)

    def _vote(self, address: str) -> None:
        self._await_data(address)
        self._reconfigure(lambda members: [voting(member, address) for member in members])

    def _await_data(self, address: str) -> None:
        if not await_true(lambda: self._has_data(address), self.params["sync_timeout"]):
            raise RefusedError(f"{address} has not the data yet; run site.yml again when its initial sync is over")

    def _has_data(self, address: str) -> bool:
        said = self.hello(address)
        return bool(said.get("secondary") or said.get("isWritablePrimary"))

    def _remove(self, address: str) -> None:
        if self.primary() == address:
            # An election since the plan was made; no primary takes itself out.
            self._step_down(address)
        self._reconfigure(lambda members: [member for member in members if member["host"] != address])

    def _step_down(self, address: str) -> None:
        """Give the lead to another member that has caught up."""
        try:
            self._patiently(lambda: self._resign(address), f"{address} does not step down")
        except OperationFailure as error:
            raise RefusedError(f"{address} does not step down: {words(error)}") from error
        if not await_true(lambda: self._find_primary() not in ("", address), self.params["timeout"]):
            raise RefusedError(f"{address} stepped down and no other member took over: see their logs")

    def _resign(self, address: str) -> None:
        self._leader = ""
        try:
            self.admin(address).command("replSetStepDown", 60, secondaryCatchUpPeriodSecs=10)
        except AutoReconnect:
            # It is no primary any more, or closed the connection instead of an answer; what counts is the next primary.
            return

    def _reconfigure(self, change: Callable[[list[Any]], list[Any]]) -> None:
        """Change the members as one new version, and wait until a majority has it."""

        def attempt(admin: Any) -> None:  # noqa: ANN401 - pymongo may be absent
            config = admin.command("replSetGetConfig")["config"]
            config.update(members=change(config["members"]), version=config["version"] + 1)
            admin.command("replSetReconfig", config)

        self._through_primary(attempt, "the set takes no new configuration")
        if not await_true(self._committed, self.params["timeout"]):
            raise RefusedError("a majority of the set has not taken the new configuration: see its members' logs")

    def _committed(self) -> bool:
        answer = self._through_primary(
            lambda admin: admin.command("replSetGetConfig", commitmentStatus=True),
            "the set does not tell its configuration",
        )
        return bool(answer["commitmentStatus"])

    def _through_primary(self, act: Callable[[Any], T], failed: str) -> T:
        """Return what ``act`` gives with the primary's admin database, whichever member is primary by then."""
        return self._patiently(lambda: act(self.admin(self.primary())), failed)

    def _patiently(self, act: Callable[[], T], failed: str) -> T:
        """Return what ``act`` gives; it is done again while its error passes. Raises RefusedError when none does."""
        given: list[T] = []
        said: list[str] = []

        def attempt() -> bool:
            try:
                given.append(act())
            except PyMongoError as error:
                if not passes(error):
                    raise
                self._leader = ""
                said.append(words(error))
            return bool(given)

        if not await_true(attempt, self.params["timeout"]):
            raise RefusedError(f"{failed}: {said[-1]}")
        return given[0]

    def _force(self, address: str, kept: tuple[str, ...]) -> None:
        """Make a set of the survivors alone; the lost have no say."""

        def attempt() -> None:
            admin = self.admin(address)
            config = admin.command("replSetGetConfig")["config"]
            members = [member for member in config["members"] if member["host"] in kept]
            if not any(member["votes"] for member in members):
                members = [voting(member, member["host"]) for member in members]
            config.update(members=members, version=config["version"] + 1)
            admin.command("replSetReconfig", config, force=True)

        self._patiently(attempt, f"{address} takes no configuration of the survivors")
        self.primary()

    # -- users --

    def ensure_admin(self, primary: str, *, check_mode: bool) -> list[str]:
        """Have the administrator. Only the host of the primary, and only while there is no user, can make it."""
        user, password = self.params["admin_user"], self.params["admin_password"]
        if self.surely_logs_in(primary, user, password):
            return []
        if primary != self.params["address"]:
            raise RefusedError(
                f"{primary} refuses the login of {user}. If the set has no administrator yet, only its own host can "
                "make it: run without --limit; else put the right value in mongodb_admin_password"
            )
        if not self._userless():
            raise RefusedError(
                f"{primary} refuses the password of {user}, and there are users already: put the right value in "
                "mongodb_admin_password, or set it in the database"
            )
        if not check_mode:
            self._patiently(self._make_admin, f"{primary} makes no administrator")
        return [f"create user {user}"]

    def _make_admin(self) -> None:
        """Make the first user, unless an attempt whose answer was lost has made it."""
        user, password = self.params["admin_user"], self.params["admin_password"]
        try:
            roles = [{"role": "root", "db": "admin"}]
            self.client(self.params["local"]).admin.command("createUser", user, pwd=password, roles=roles)
        except OperationFailure:
            if not self.surely_logs_in(self.params["local"], user, password):
                raise

    def _userless(self) -> bool:
        """Whether the member here lets nobody in by the localhost exception, which ends with the first user."""
        try:
            self.client(self.params["local"]).admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            return False
        return True

    def ensure_users(self, *, check_mode: bool) -> list[str]:
        """Have the wanted users at the primary; returns what was done."""
        done: dict[str, None] = {}

        def attempt(admin: Any) -> None:  # noqa: ANN401 - pymongo may be absent
            users = {user["name"]: user for user in self.params["users"]}
            for verb, name in self._differing(admin, users):
                # Noted first: when its answer is lost, the next attempt finds nothing to do.
                done[f"{verb} user {name}" if verb == "create" else f"set {verb} of user {name}"] = None
                if not check_mode:
                    _set_user(admin, verb, users[name])

        self._through_primary(attempt, "the set takes no users")
        return list(done)

    def _differing(self, admin: Any, users: dict[str, Any]) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return ``(verb, name)`` of each user that is not as wanted."""
        found = admin.command("usersInfo", 1)["users"]
        present = [Account(u["user"], tuple(f"{r['role']}@{r['db']}" for r in u["roles"])) for u in found]
        known = {account.name for account in present}
        primary = self.primary()
        refused = [n for n, u in users.items() if n in known and not self.surely_logs_in(primary, n, u["password"])]
        steps: list[tuple[str, str]] = plan_accounts(
            [Account(n, tuple(u["roles"])) for n, u in users.items()], present, refused
        )
        return steps


def _set_user(admin: Any, verb: str, user: dict[str, Any]) -> None:  # noqa: ANN401 - pymongo may be absent
    roles = [dict(zip(("role", "db"), role.split("@", 1), strict=True)) for role in user["roles"]]
    if verb == "create":
        admin.command("createUser", user["name"], pwd=user["password"], roles=roles)
    elif verb == "password":
        admin.command("updateUser", user["name"], pwd=user["password"])
    else:
        admin.command("updateUser", user["name"], roles=roles)


def with_newcomer(members: list[Any], address: str) -> list[Any]:
    """Return ``members`` of a configuration with ``address``, that has no vote yet."""
    if any(member["host"] == address for member in members):
        return members
    number = max(member["_id"] for member in members) + 1
    return [*members, {"_id": number, "host": address, "priority": 0, "votes": 0}]


def voting(member: dict[str, Any], address: str) -> dict[str, Any]:
    """Return ``member`` of a configuration, with its vote when it is ``address``."""
    return {**member, "priority": 1, "votes": 1} if member["host"] == address else member


def _unfinished(member: dict[str, Any]) -> bool:
    """Whether an interrupted run left it without a vote; who wants one without hides it."""
    return not member["votes"] and not member["priority"] and not member["hidden"] and not member["arbiterOnly"]


def _newest(said: dict[str, Any]) -> tuple[int, int, int]:
    written = said.get("lastWrite", {}).get("opTime")
    return (written["t"], written["ts"].time, written["ts"].inc) if written else (0, 0, 0)
