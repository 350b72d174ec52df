"""Leases: which instances live, who holds a beat. All times are the server's."""

from __future__ import annotations

from pymongo.errors import DuplicateKeyError

from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document

COLLECTION = "leases"

CHAIN = "chain"

STARTS_KEPT = 20

INDEXES = ()


def instance_id(process: str, host: str, number: int) -> str:
    """Return the id of an instance's document."""
    return f"instance:{process}:{host}:{number}"


def begin(db: Store, process: str, host: str, number: int) -> None:
    """Count a start of an instance: those since its last orderly end are kept, at most ``STARTS_KEPT``.

    Raises StoreError.
    """
    starts = {"$slice": [{"$concatArrays": [{"$ifNull": ["$starts", []]}, ["$$NOW"]]}, -STARTS_KEPT]}
    fields: Document = {"process": {"$literal": process}, "host": {"$literal": host}, "n": number, "seen": "$$NOW"}
    fields |= {"starts": starts, "ended": False, "partitions": [], "state": "starting"}
    with store_errors("counting a start"):
        key = {"_id": instance_id(process, host, number)}
        db[COLLECTION].update_one(key, [{"$set": fields}], upsert=True)


def announce(db: Store, process: str, host: str, number: int, facts: Document) -> None:
    """Say that an instance lives; ``facts`` (pid, engines, partitions, counters …) replace the earlier ones.

    What ``begin`` and ``fail`` noted stays. Raises StoreError.
    """
    fields: Document = {name: {"$literal": value} for name, value in facts.items()}
    fields |= {"process": {"$literal": process}, "host": {"$literal": host}, "n": number, "seen": "$$NOW"}
    fields |= {"starts": "$starts", "error": "$error"}
    key = instance_id(process, host, number)
    with store_errors("announcing an instance"):
        db[COLLECTION].update_one({"_id": key}, [{"$replaceWith": {"_id": key, **fields}}], upsert=True)


def fail(db: Store, process: str, host: str, number: int, why: str) -> None:
    """Say that an instance ends by an error: the others take over at once, and it stays to be seen.

    Raises StoreError.
    """
    fields: Document = {"ended": True, "error": {"$literal": why}, "partitions": []}
    with store_errors("telling of a failure"):
        db[COLLECTION].update_one({"_id": instance_id(process, host, number)}, [{"$set": fields}])


def withdraw(db: Store, process: str, host: str, number: int) -> None:
    """Say that an instance is going. Raises StoreError."""
    with store_errors("withdrawing an instance"):
        db[COLLECTION].delete_one({"_id": instance_id(process, host, number)})


def instances(db: Store, max_age: float, process: str | None = None) -> list[Document]:
    """Return the instances seen within ``max_age`` seconds, by id, each with its ``age``. Raises StoreError."""
    return [found for found in all_instances(db, process) if found["age"] <= max_age and not found.get("ended")]


def all_instances(db: Store, process: str | None = None) -> list[Document]:
    """Return every instance ever seen and not withdrawn, by id. Raises StoreError.

    ``age`` is seconds since its last word, ``starts`` are seconds since each start.
    """
    condition: Document = {"_id": {"$gte": "instance:", "$lt": "instance;"}}
    if process is not None:
        condition["process"] = process
    since: Document = {"$map": {"input": {"$ifNull": ["$starts", []]}, "in": _seconds_since("$$this")}}
    ages = {"age": _seconds_since("$seen"), "starts": since}
    stages: list[Document] = [{"$match": condition}, {"$set": ages}, {"$sort": {"_id": 1}}]
    with store_errors("reading instances"):
        return list(db[COLLECTION].aggregate(stages))


def _seconds_since(moment: str) -> Document:
    return {"$divide": [{"$subtract": ["$$NOW", moment]}, 1000]}


def forget_host(db: Store, host: str) -> int:
    """Delete the instances of ``host``, which will not come back; return how many. Raises StoreError."""
    condition: Document = {"_id": {"$gte": "instance:", "$lt": "instance;"}, "host": host}
    with store_errors("forgetting a host"):
        return db[COLLECTION].delete_many(condition).deleted_count


def note_chain(db: Store, processes: Document) -> None:
    """Keep which processes the chain has, with their queues and partitions, for hosts without its file.

    Raises StoreError.
    """
    with store_errors("noting the chain"):
        db[COLLECTION].update_one({"_id": CHAIN}, {"$set": {"processes": processes}}, upsert=True)


def chain(db: Store) -> Document:
    """Return the processes of the chain as ``note_chain`` kept them, nothing when none was. Raises StoreError."""
    with store_errors("reading the chain"):
        found = db[COLLECTION].find_one({"_id": CHAIN})
    return dict(found["processes"]) if found else {}


def forget_dead(db: Store, max_age: float) -> int:
    """Delete instances not seen for ``max_age`` seconds; return how many. Raises StoreError."""
    dead = [found["_id"] for found in all_instances(db) if found["age"] > max_age]
    with store_errors("forgetting instances"):
        return db[COLLECTION].delete_many({"_id": {"$in": dead}}).deleted_count if dead else 0


def take(db: Store, name: str, holder: str, seconds: float) -> bool:
    """Take, or keep, the lease ``name`` for ``seconds``; False while another holds it. Raises StoreError."""
    until = {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": int(seconds * 1000)}}
    free = {"$or": [{"holder": holder}, {"$expr": {"$lte": ["$until", "$$NOW"]}}]}
    with store_errors(f"taking {name}"):
        change: list[Document] = [{"$set": {"holder": {"$literal": holder}, "until": until}}]
        if db[COLLECTION].update_one({"_id": name, **free}, change).matched_count:
            return True
        # An upsert may not look at the clock: it makes the lease that is not there, and leaves another's alone.
        first = {"holder": {"$ifNull": ["$holder", {"$literal": holder}]}, "until": {"$ifNull": ["$until", until]}}
        try:
            made = db[COLLECTION].update_one({"_id": name}, [{"$set": first}], upsert=True)
        except DuplicateKeyError:
            return False
    return made.upserted_id is not None


def release(db: Store, name: str, holder: str) -> None:
    """Give the lease ``name`` back, if ``holder`` has it. Raises StoreError."""
    with store_errors(f"releasing {name}"):
        db[COLLECTION].delete_one({"_id": name, "holder": holder})


def take_beat(db: Store, engine: str, holder: str, seconds: float) -> bool:
    """Take, or keep, the beat of ``engine``; see ``take``."""
    return take(db, f"beat:{engine}", holder, seconds)


def release_beat(db: Store, engine: str, holder: str) -> None:
    """Give the beat of ``engine`` back; see ``release``."""
    release(db, f"beat:{engine}", holder)
