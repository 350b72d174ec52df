"""Membership of a replica set: what was observed, what is wanted → ordered steps, or a refusal with its reason.

Pure. No host is special by its position: an existing set is found wherever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_VOTES = 7
RECOVER = "when a majority is lost for good: playbooks/recover.yml"


@dataclass(frozen=True)
class Member:
    """What one member says of itself. ``set_name`` and ``config`` are empty while it is in no set.

    ``set_id`` and ``voteless`` (members of ``config`` that await their vote) are known only where the administrator
    may log in. ``known_as`` is its address in ``config``. ``holds`` tells that it has the site's administrator.
    ``newest`` is its last write (term, seconds, increment). ``wanted`` is whether the inventory has it.
    """

    address: str
    reachable: bool = True
    set_name: str = ""
    set_id: str = ""
    config: tuple[str, ...] = ()
    state: str = ""
    writable: bool = False
    voteless: tuple[str, ...] = ()
    known_as: str = ""
    holds: bool = False
    newest: tuple[int, int, int] = (0, 0, 0)
    wanted: bool = True

    @property
    def well(self) -> bool:
        """Whether it has the data."""
        return self.reachable and self.state in ("PRIMARY", "SECONDARY")


@dataclass(frozen=True)
class Step:
    """One thing to do to the member ``address``.

    ``initiate``, ``add`` (without a vote, until it has the data), ``vote``, ``await`` (its data), ``step down``,
    ``remove``, ``force`` (a set of ``members`` only).
    """

    action: str
    address: str
    through: str = ""
    members: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything differs afterwards by this step."""
        return self.action != "await"

    def text(self) -> str:
        """Return the step as an operator reads it."""
        rest = f" (through {self.through})" if self.through else ""
        return f"{self.action} {self.address}{rest}" + (f" with {', '.join(self.members)}" if self.members else "")


@dataclass(frozen=True)
class Plan:
    """Ordered steps, or a ``refusal``; ``notes`` report what is left as it is."""

    steps: tuple[Step, ...] = ()
    refusal: str = ""
    notes: tuple[str, ...] = field(default=())


def actor(observed: Sequence[Member], actors: Sequence[str]) -> str:
    """Return which of ``actors`` (addresses of the hosts of this run) acts: the primary, else any one of them.

    Only the host of the primary can make the first administrator.
    """
    primary = _primary(observed)
    return primary.address if primary and primary.address in actors else min(actors)


def plan(set_name: str, observed: Sequence[Member], here: str = "") -> Plan:
    """Return what brings ``observed`` into one replica set called ``set_name``; ``here`` begins a new one."""
    living = [member for member in observed if member.set_name]
    refusal = _foreign(set_name, living) or _renamed(living) or _two_sets(set_name, living) or _blank(observed, living)
    if refusal:
        return Plan(refusal=refusal)
    if not living:
        return _new_set(observed, here)
    primary = _primary(observed)
    return _grow(observed, primary) if primary else Plan(refusal=_leaderless(living, observed))


def _primary(observed: Sequence[Member]) -> Member | None:
    return next((member for member in observed if member.writable), None)


def _foreign(set_name: str, living: Sequence[Member]) -> str:
    foreign = [member for member in living if member.set_name != set_name]
    if not foreign:
        return ""
    return (
        f"{foreign[0].address} is in the replica set {foreign[0].set_name}, not {set_name}: "
        "take it out of that set or change mongodb_replica_set"
    )


def _renamed(living: Sequence[Member]) -> str:
    for member in living:
        if member.known_as and member.known_as != member.address:
            return (
                f"the set knows {member.address} as {member.known_as}: put that address back (canopsis_address, "
                f"canopsis_mongodb_port), or remove {member.known_as} by playbooks/remove-host.yml, wipe its data path "
                "and run site.yml again"
            )
    return ""


def _two_sets(set_name: str, living: Sequence[Member]) -> str:
    """Sets differ by their id; where nobody may read it, by members that do not know each other."""
    apart = len({member.set_id for member in living if member.set_id}) > 1 or any(
        one.address not in other.config and other.address not in one.config for one in living for other in living
    )
    if not apart:
        return ""
    sets = ", ".join(f"{member.address} ({member.set_id or ' '.join(member.config)})" for member in living)
    return f"two different sets called {set_name}: {sets}; wipe the data path of the members that are to go"


def _blank(observed: Sequence[Member], living: Sequence[Member]) -> str:
    """Begin a set only where nobody can have one."""
    if living:
        return ""
    unreachable = [member.address for member in observed if not member.reachable]
    if unreachable:
        return f"no set exists and {', '.join(unreachable)} cannot be reached: start them first"
    holding = [member.address for member in observed if member.holds]
    if holding:
        return f"{', '.join(holding)} has a site's users but no set: see var/log/mongodb.log, or wipe its data path"
    return ""


def _leaderless(living: Sequence[Member], observed: Sequence[Member]) -> str:
    known = sorted({address for member in living for address in member.config})
    well = {member.address for member in observed if member.well}
    away = [address for address in known if address not in well]
    return (
        f"the set has no primary, {len(known) - len(away)} of {len(known)} members are well: bring back a majority "
        f"of its members first ({', '.join(away) or 'see their logs'}); {RECOVER}"
    )


def _new_set(observed: Sequence[Member], here: str) -> Plan:
    addresses = sorted(member.address for member in observed)
    seed = here if here in addresses else addresses[0]
    others = [address for address in addresses if address != seed]
    return Plan(
        steps=(Step("initiate", seed), *_additions(others, seed, MOST_VOTES - 1)),
        notes=_counts(len(addresses)),
    )


def _additions(addresses: Sequence[str], primary: str, votes: int) -> list[Step]:
    """Each is added and has its vote before the next: never two voting changes at once."""
    steps = []
    for number, address in enumerate(addresses):
        steps.append(Step("add", address, primary))
        steps += [Step("vote", address, primary)] if number < votes else []
    return steps


def _grow(observed: Sequence[Member], primary: Member) -> Plan:
    here = sorted((member for member in observed if member.wanted and member.reachable), key=lambda each: each.address)
    known, free = primary.config, MOST_VOTES - len(primary.config) + len(primary.voteless)
    waiting = [m.address for m in here if m.address in known and not m.well and m.address not in primary.voteless]
    unfinished = [m.address for m in here if m.address in primary.voteless][: max(free, 0)]
    missing = [m.address for m in here if m.address not in known]
    steps = (
        *(Step("await", address) for address in waiting),
        *(Step("vote", address, primary.address) for address in unfinished),
        *_additions(missing, primary.address, free - len(unfinished)),
    )
    return Plan(steps=steps, notes=(*_left(observed, known), *_counts(len(known) + len(missing))))


def _left(observed: Sequence[Member], known: Sequence[str]) -> list[str]:
    wanted = {member.address for member in observed if member.wanted}
    away = [member.address for member in observed if member.wanted and not member.reachable]
    return [
        *(
            f"{address} is still a member but in no inventory group; playbooks/remove-host.yml removes it"
            for address in sorted(set(known) - wanted)
        ),
        *(f"{address} does not answer; it is left as it is" for address in sorted(away) if address in known),
        *(f"{address} does not answer; the next run adds it" for address in sorted(away) if address not in known),
    ]


def _counts(members: int) -> tuple[str, ...]:
    if members % 2:
        return ()
    return (f"{members} members: an even number survives no more losses than {members - 1}",)


def plan_expulsion(expelled: Sequence[str], observed: Sequence[Member]) -> Plan:
    """Return how the members ``expelled`` leave the set: the dead first, the primary last."""
    primary = _primary(observed)
    if primary is None:
        return Plan(refusal=_leaderless([member for member in observed if member.set_name], observed))
    leaving = [address for address in expelled if address in primary.config]
    refusal = _quorum(leaving, observed, primary)
    if refusal or not leaving:
        return Plan(refusal=refusal)
    well = {member.address for member in observed if member.well}
    ordered = sorted(set(leaving), key=lambda address: (address == primary.address, address in well, address))
    resigns = [Step("step down", primary.address)] if primary.address in leaving else []
    removals = [Step("remove", address) for address in ordered]
    return Plan(steps=(*removals[: len(removals) - len(resigns)], *resigns, *removals[len(removals) - len(resigns) :]))


def _quorum(leaving: Sequence[str], observed: Sequence[Member], primary: Member) -> str:
    """Refuse what leaves no set, or one that could not elect."""
    staying = [address for address in primary.config if address not in leaving]
    voters = [address for address in staying if address not in primary.voteless]
    well = {member.address for member in observed if member.well}
    dead = [address for address in voters if address not in well]
    if leaving and not voters:
        return f"{', '.join(leaving)} would take the last member with a vote away: add another host first"
    if leaving and len(voters) - len(dead) <= len(voters) // 2:
        return (
            f"without {', '.join(leaving)} only {len(voters) - len(dead)} of {len(voters)} votes are well: "
            f"bring back {', '.join(dead)} first, or remove them too"
        )
    return ""


def plan_recovery(observed: Sequence[Member]) -> Plan:
    """Return how the survivors of a lost majority go on: under the one with the newest data, without the others."""
    living = [member for member in observed if member.set_name]
    primary = _primary(observed)
    if primary and leads_a_minority(observed):
        return Plan(refusal=f"{primary.address} has not stepped down yet, and has lost its majority: run this again")
    if primary:
        return Plan(notes=("the set has a primary; there is nothing to recover",))
    if not living:
        return Plan(refusal="no member of a set answers: start one first, or run site.yml for a new set")
    refusal = _renamed(living) or _two_sets(living[0].set_name, living) or _electable(living)
    if refusal:
        return Plan(refusal=refusal)
    having = [member for member in living if member.well]
    if not having:
        return Plan(refusal=f"no member that answers has its data whole ({_names(living)}): see var/log/mongodb.log")
    newest = max(having, key=lambda member: (member.newest, member.address))
    kept = tuple(sorted(member.address for member in living))
    lost = sorted(set(newest.config) - set(kept))
    notes = tuple(f"{address} is dropped; wipe its data path, then run site.yml" for address in lost)
    return Plan(steps=(Step("force", newest.address, members=kept),), notes=notes)


def leads_a_minority(observed: Sequence[Member]) -> bool:
    """Whether there is a primary that most of the votes have left: it steps down within seconds."""
    alive, voters = _votes([member for member in observed if member.set_name])
    return bool(_primary(observed)) and len(alive) <= len(voters) // 2


def _votes(living: Sequence[Member]) -> tuple[list[str], set[str]]:
    """Return who answers of the members with a vote, and all of those."""
    voteless = {address for member in living for address in member.voteless}
    voters = {address for member in living for address in member.config} - voteless
    return [member.address for member in living if member.address in voters], voters


def _electable(living: Sequence[Member]) -> str:
    alive, voters = _votes(living)
    if len(alive) <= len(voters) // 2:
        return ""
    return f"{len(alive)} of {len(voters)} votes answer, a majority elects by itself: see the log of {alive[0]}"


def _names(members: Sequence[Member]) -> str:
    return ", ".join(member.address for member in members)


@dataclass(frozen=True)
class Account:
    """A user of the database. ``roles`` are ``role@database``; the login probe says whether its password works."""

    name: str
    roles: tuple[str, ...]


def plan_accounts(
    wanted: Sequence[Account], present: Sequence[Account], refused: Sequence[str]
) -> list[tuple[str, str]]:
    """Return ``(verb, name)`` for each account that differs: ``create``, ``password`` or ``roles``.

    ``refused`` names the accounts whose wanted password the database did not take.
    """
    roles = {account.name: set(account.roles) for account in present}
    steps = []
    for account in wanted:
        if account.name not in roles:
            steps.append(("create", account.name))
            continue
        if account.name in refused:
            steps.append(("password", account.name))
        if roles[account.name] != set(account.roles):
            steps.append(("roles", account.name))
    return steps
