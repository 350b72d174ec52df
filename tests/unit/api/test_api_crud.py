"""Things that clients make, change and delete: what one declaration answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec
import pytest
from api_fakes import Api
from werkzeug.test import TestResponse

from canopsis.api.app import RESOURCES
from canopsis.api.body import text
from canopsis.api.crud import Crud, merged
from canopsis.api.endpoints import Resource, Thing
from canopsis.core import parameters
from canopsis.errors import InputError
from canopsis.store.client import Store
from canopsis.store.operations import Document
from canopsis.store.query import Listing, Page, Query


class Note(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is sent."""

    id: Annotated[str, text("Name of the note.", 20, "[a-z0-9 ]+", "letters, digits and blanks")]
    colour: Annotated[str, text("Its colour.", 10)] = "white"
    weight: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0
    place: dict[str, str] = {}


class StoredNote(Note, kw_only=True):
    """What is answered."""

    rev: int
    author: str


class NoteQuery(Query, frozen=True):
    """Which notes."""

    LIST = Listing("notes", {"id": "_id", "weight": "weight"}, "id")

    colour: Annotated[str | None, parameters.text("Only notes of this colour.")] = None


def listing(_db: Store, _query: NoteQuery) -> Page:
    raise AssertionError("the database of the test answers")


def get(_db: Store, _key: str) -> Document | None:
    raise AssertionError("the database of the test answers")


def put(_db: Store, _note: Note, _author: str, _rev: int | None) -> Document | None:
    raise AssertionError("the database of the test answers")


def delete(_db: Store, _key: str, _rev: int | None) -> bool:
    raise AssertionError("the database of the test answers")


def parse(sent: Any) -> Note:
    note = msgspec.convert(sent, Note)
    if note.colour == "octarine":
        raise InputError("colour", note.colour, "a colour that everybody sees")
    return note


def written(stored: Document) -> Document:
    return {name: value for name, value in stored.items() if name in Note.__struct_fields__}


NOTES = Crud("/notes", Thing("note", "note_id", get), Note, StoredNote, NoteQuery, listing, put, delete, written)
PATH = "/api/v1/notes"


class Notes:
    """A store of notes in memory; ``meanwhile`` is what another client does just before a write."""

    def __init__(self) -> None:
        self.stored: dict[str, Document] = {}
        self.meanwhile = lambda: None

    def put(self, note: Note, author: str, rev: int | None) -> Document | None:
        self.meanwhile()
        old = self.stored.get(note.id)
        if rev is not None and rev != (old["rev"] if old else 0):
            return None
        facts = {"rev": old["rev"] + 1 if old else 1, "author": author}
        self.stored[note.id] = msgspec.to_builtins(note) | facts
        return self.stored[note.id]

    def delete(self, key: str, rev: int | None) -> bool:
        self.meanwhile()
        if key not in self.stored or rev not in (None, self.stored[key]["rev"]):
            return False
        del self.stored[key]
        return True


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def api(notes: Notes) -> Api:
    return serving(notes, NOTES)


def serving(notes: Notes, declared: Crud[Note, NoteQuery]) -> Api:
    resource = Resource("notes")
    declared.declare(resource)
    api = Api((*RESOURCES, resource))
    api.database.answers |= {
        listing: lambda _query: Page(len(notes.stored), list(notes.stored.values())),
        get: notes.stored.get,
        put: notes.put,
        delete: notes.delete,
    }
    return api


def make(api: Api, key: str = "a b", **facts: Any) -> TestResponse:
    answer = api.post(PATH, {"id": key} | facts)
    assert answer.status_code == 201
    return answer


def one(answer: TestResponse) -> Any:
    [found] = answer.json["data"]
    return found


def test_a_thing_is_made_shown_listed_and_deleted(api: Api) -> None:
    made = make(api, colour="red")
    assert one(made) == {"id": "a b", "colour": "red", "weight": 0, "place": {}, "rev": 1, "author": "some-admin"}
    assert made.headers["Location"] == f"{PATH}/a%20b"
    shown = api.get(made.headers["Location"], "reader")
    assert (one(shown), shown.headers["ETag"]) == (one(made), made.headers["ETag"])
    assert api.get(PATH, "reader").json["total"] == 1
    assert one(api.call("DELETE", f"{PATH}/a%20b")) == {"id": "a b", "status": "deleted"}
    assert api.get(f"{PATH}/a%20b").status_code == 404


def test_one_that_is_there_is_not_made_again(api: Api) -> None:
    make(api)
    answer = api.post(PATH, {"id": "a b"})
    assert (answer.status_code, answer.json["field"], answer.json["value"]) == (409, "id", "a b")


def test_put_makes_and_replaces(api: Api) -> None:
    answer = api.call("PUT", f"{PATH}/n", json={"weight": 3})
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{PATH}/n")
    again = api.call("PUT", f"{PATH}/n", json={"id": "n", "colour": "red"})
    assert (again.status_code, one(again)["rev"], one(again)["weight"]) == (200, 2, 0)
    other = api.call("PUT", f"{PATH}/n", json={"id": "m"})
    assert (other.status_code, other.json["field"]) == (400, "id")


def test_patch_changes_what_it_names(api: Api) -> None:
    make(api, "n", colour="red", weight=2, place={"room": "1", "shelf": "2"})
    patch = b'{"weight": 5, "colour": null, "place": {"shelf": null, "box": "3"}}'
    answer = api.call("PATCH", f"{PATH}/n", data=patch, content_type="application/merge-patch+json")
    found = one(answer)
    assert (found["weight"], found["colour"], found["place"]) == (5, "white", {"room": "1", "box": "3"})
    assert api.call("PATCH", f"{PATH}/n", json={"id": "m"}).json["field"] == "id"
    assert api.call("PATCH", f"{PATH}/none", json={}).status_code == 404


@pytest.mark.parametrize(
    ("sent", "field", "allowed"),
    [
        ({}, "id", "letters, digits and blanks"),
        ({"id": "A"}, "id", "letters, digits and blanks"),
        ({"id": "a", "colour": 5}, "colour", "a text of at most 10 characters without NUL"),
        ({"id": "a", "color": "red"}, "color", "the fields id, colour, weight, place"),
        ({"id": "a", "weight": 10}, "weight", "expected `int` <= 9"),
        ({"id": "a", "place": {"room": 1}}, "place", "expected `str`, got `int`"),
        ([], "body", "a JSON object"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(api: Api, sent: object, field: str, allowed: str) -> None:
    answer = api.post(PATH, sent)
    assert answer.status_code == 400
    assert (answer.json["field"].partition(".")[0], answer.json["allowed"]) == (field, allowed)


def test_what_types_do_not_tell_is_parsed(notes: Notes) -> None:
    answer = serving(notes, replace(NOTES, parse=parse)).post(PATH, {"id": "a", "colour": "octarine"})
    assert (answer.status_code, answer.json["field"]) == (400, "colour")


def test_what_a_client_has_is_not_sent_again(api: Api) -> None:
    tag = make(api, "n").headers["ETag"]
    known = api.get(f"{PATH}/n", headers={"If-None-Match": tag})
    assert (known.status_code, known.data, known.headers["ETag"]) == (304, b"", tag)
    assert api.get(f"{PATH}/n", headers={"If-None-Match": '"1.other"'}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_over_what_the_client_did_not_see_is_refused(api: Api, method: str) -> None:
    tag = make(api, "n").headers["ETag"]
    api.call("PATCH", f"{PATH}/n", json={"weight": 1})
    body = None if method == "DELETE" else {"weight": 2}
    late = api.call(method, f"{PATH}/n", json=body, headers={"If-Match": tag})
    assert (late.status_code, late.json["field"]) == (412, "If-Match")
    assert one(api.get(f"{PATH}/n"))["weight"] == 1
    now = api.get(f"{PATH}/n").headers["ETag"]
    assert api.call(method, f"{PATH}/n", json=body, headers={"If-Match": now}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_that_another_one_overtakes_is_refused(api: Api, notes: Notes, method: str) -> None:
    tag = make(api, "n").headers["ETag"]
    notes.meanwhile = lambda: notes.stored["n"].update(rev=7)
    body = None if method == "DELETE" else {"weight": 2}
    assert api.call(method, f"{PATH}/n", json=body, headers={"If-Match": tag}).status_code == 412


def test_a_patch_that_another_write_overtakes_is_to_be_sent_again(api: Api, notes: Notes) -> None:
    make(api, "n")
    notes.meanwhile = lambda: notes.stored["n"].update(rev=notes.stored["n"]["rev"] + 1)
    assert api.call("PATCH", f"{PATH}/n", json={"weight": 2}).status_code == 409


def test_put_may_be_told_to_replace_nothing_or_something(api: Api) -> None:
    assert api.call("PUT", f"{PATH}/n", json={}, headers={"If-Match": "*"}).status_code == 412
    assert api.call("PUT", f"{PATH}/n", json={}, headers={"If-None-Match": "*"}).status_code == 201
    assert api.call("PUT", f"{PATH}/n", json={}, headers={"If-None-Match": "*"}).status_code == 412
    assert api.call("PUT", f"{PATH}/n", json={}, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", PATH), ("PUT", f"{PATH}/n"), ("PATCH", f"{PATH}/n"), ("DELETE", f"{PATH}/n")]
)
def test_a_reader_and_an_operator_may_not_write(api: Api, method: str, path: str) -> None:
    for role in ("reader", "operator"):
        assert api.call(method, path, role, json={"id": "n"}).status_code == 403


def test_the_address_tells_which_methods_it_takes(api: Api) -> None:
    assert api.call("POST", f"{PATH}/n", json={}).headers["Allow"] == "DELETE, GET, PATCH, PUT"


def test_a_merge_patch_does_what_the_rfc_says() -> None:
    assert merged({"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}) == {"a": "z", "c": {"d": "e"}}
    assert merged({"a": {"b": "c"}}, {"a": [1]}) == {"a": [1]}
    assert merged({"a": "b"}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
