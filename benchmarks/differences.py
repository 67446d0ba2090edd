"""Send this server and the released one the same requests, most of them broken, and list the differences between the answers.

    python -m benchmarks.differences --released EXECUTABLE [--requests 2000] [--seed 1]

``--released`` as for ``python -m benchmarks``. Bodies are valid ones with members taken away, renamed, added or changed. Status,
``message_code`` and the text of failed validations are compared, and of successes the body without ids, times and order.
Differences come in groups of one kind with an example each; those on purpose are in CHANGELOG.md under "Changed".
"""

from __future__ import annotations

import argparse
import copy
import http.client
import json
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.subject import API, ROOT, Subject, Version, source_tree

SCORING = {
    "primary_score": {"metric": "acc", "lower_is_better": True},
    "pass_criteria": {"threshold": 0.5},
}
MEMBER = {"id": "b", "provider_id": "none", "weight": 1.5, "parameters": {"a": 1}, **SCORING}
S3 = {"bucket": "b", "key": "k", "secret_ref": "s"}
GIT = {"url": "https://git.example/x", "ref": "main", "secret_ref": "s"}
HARDWARE = {"queue": {"name": "q"}, "cpu": {"request": "1"}, "gpu": {"name": "g", "count": 1}}
COORDINATES = {"oci_host": "h", "oci_repository": "r", "annotations": {"a": "b"}}
MODEL = {"url": "http://m.example", "name": "m", "auth": {"secret_ref": "s"}, "parameters": {"x": 1}}
JOB = {
    "name": "j",
    "description": "d",
    "tags": ["a"],
    "model": MODEL,
    "benchmarks": [
        {**MEMBER, "hardware_config": HARDWARE, "test_data_ref": {"s3": S3, "type": "data_set"}},
        {**MEMBER, "test_data_ref": {"git": GIT}},
    ],
    "custom": {"a": 1},
    "exports": {"oci": {"coordinates": COORDINATES, "k8s": {"connection": "c"}}},
    "hardware_config": {"hardware_profile_name": "p"},
    "queue": {"name": "q"},
}
COLLECTION = {
    "name": "c",
    "category": "x",
    "description": "d",
    "tags": ["a"],
    "pass_criteria": {"threshold": 0.5},
    "benchmarks": [{**MEMBER, "test_data_ref": {"hf": {"repo_id": "o/d", "revision": "r"}}}],
    "agent": {"summary": "s", "evaluates": ["a"]},
    "curation_order": 0,
    "domains": ["d"],
}
PROVIDER = {
    "name": "p",
    "title": "t",
    "tags": ["a"],
    "benchmarks": [{"id": "b", "name": "B", "category": "c", "metrics": ["m"], "num_few_shot": 1, **SCORING}],
    "runtime": {"local": {"command": "true", "env": [{"name": "A", "value": "b"}]}, "k8s": {"image": "i"}},
    "agent": {"summary": "s", "target_type": "model"},
}
EVENT = {
    "benchmark_status_event": {
        "provider_id": "sleeps",
        "id": "b",
        "benchmark_index": 0,
        "status": "running",
        "phase": "initializing",
        "metrics": {"a": 1},
        "metrics_schema": [{"name": "a", "type": "numeric"}],
        "warning_message": {"message": "m", "message_code": "c"},
        "started_at": "2026-01-01T00:00:00Z",
    }
}
REQUESTS = (
    ("POST", f"{API}/jobs", JOB),
    ("POST", f"{API}/jobs/JOB/events", EVENT),
    ("POST", f"{API}/collections", COLLECTION),
    ("PUT", f"{API}/collections/COLLECTION", COLLECTION),
    ("POST", f"{API}/collections/COLLECTION/clones", COLLECTION),
    ("POST", f"{API}/providers", PROVIDER),
    ("PUT", f"{API}/providers/PROVIDER", PROVIDER),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 0.5, 10**19, "", " ", "x", "1", "a,b", "X_Y", "http://x", "a" * 200, "a" * 1100),
    *([], {}, [""], ["a"], [{}], {"a": 1}),
)
ONLY_OURS = re.compile("/resource/updated_at|/status/benchmarks")
"""What the released server's answer to a create of a job lacks."""
CHANGING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")


class Answer(NamedTuple):
    status: int
    body: Any

    @property
    def kind(self) -> str:
        """Status, and the code of an error."""
        return f"{self.status} {self.body['message_code'] if self.status >= 400 else ''}".rstrip()


def broken(choose: random.Random, document: Any) -> Any:
    document = copy.deepcopy(document)
    for _ in range(choose.choice((1, 1, 1, 2, 3))):
        places = list(_places(document))
        if places:
            _change(choose, *choose.choice(places))
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (list or object, index or key) below."""
    for key in (
        list(value) if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    ):
        yield value, key
        yield from _places(value[key])


def _change(choose: random.Random, inside: Any, key: Any) -> None:
    match choose.choice(("remove", "rename", "add", "set", "set", "set")):
        case "remove":
            del inside[key]
        case "rename" if isinstance(key, str):
            inside[key.upper()] = inside.pop(key)
        case "add":
            inside.append(copy.deepcopy(inside[key])) if isinstance(inside, list) else inside.update(
                unknown=1
            )
        case _:
            inside[key] = copy.deepcopy(choose.choice(VALUES))


class Client:
    """Speaks to one server; ``ids`` are those of what it has, by the words in the paths of :data:`REQUESTS`."""

    def __init__(self, subject: Subject) -> None:
        self._port = subject.port
        self.ids: dict[str, str] = {"JOB": subject.submit("sleeps")}

    def renew(self) -> None:
        """Recreate the resources that are replaced and cloned: a curated collection cannot be changed any more."""
        for word, path, document in (
            ("COLLECTION", f"{API}/collections", COLLECTION),
            ("PROVIDER", f"{API}/providers", PROVIDER),
        ):
            self.ids[word] = self.answer("POST", path, document).body["resource"]["id"]

    def answer(self, method: str, path: str, document: Any) -> Answer:
        for word, identifier in self.ids.items():
            path = path.replace(word, identifier)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request(method, path, json.dumps(document))
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return Answer(response.status, json.loads(text) if text else None)


def difference(ours: Answer, released: Answer) -> tuple[str, str, str] | None:
    """(kind, ours, released) if the answers are not alike."""
    if ours.kind != released.kind:
        return f"{ours.kind}, released {released.kind}", _message(ours), _message(released)
    if ours.kind.endswith("request_validation_failed") and _message(ours) != _message(released):
        return "text", _message(ours), _message(released)
    if ours.status < 300 and ours.body:
        mine, its = dict(_leaves(ours.body)), dict(_leaves(released.body))
        for path in sorted(mine.keys() | its.keys()):
            if mine.get(path) != its.get(path) and not ONLY_OURS.match(path):
                return f"body at {re.sub(r'[0-9]+', 'N', path)}", repr(mine.get(path)), repr(its.get(path))
    return None


def _message(answer: Answer) -> str:
    return str(answer.body["message"]).replace("\n", " / ") if answer.status >= 400 else ""


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of all that is not a list or an object; nulls and what is empty are nothing."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _leaves(item, f"{path}/{str(key).lower()}")
    if not isinstance(value, dict | list) and value not in (None, "", 0):
        yield path, CHANGING.sub("?", value) if isinstance(value, str) else value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--released", metavar="EXECUTABLE", required=True)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    choose = random.Random(arguments.seed)  # noqa: S311  to be repeated, not secret
    folder = Path(tempfile.mkdtemp(prefix="evalhub-differences-"))
    subjects = [
        Subject(source_tree("this", ROOT), folder / "this"),
        Subject(Version("released", [arguments.released], {}), folder / "released"),
    ]
    found: dict[str, list[str]] = {}
    for subject in subjects:
        subject.start()
    try:
        ours, released = clients = [Client(subject) for subject in subjects]
        for number in range(arguments.requests):
            if number % 50 == 0:
                ours.renew()
                released.renew()
            method, path, document = choose.choice(REQUESTS)
            body = broken(choose, document)
            unlike = difference(ours.answer(method, path, body), released.answer(method, path, body))
            if unlike is not None:
                kind, mine, its = unlike
                example = f"    sent      {json.dumps(body)}\n    ours      {mine}\n    released  {its}"
                found.setdefault(f"{method} {path}: {kind}", []).append(example)
        for client in clients:
            client.answer("DELETE", f"{API}/jobs/JOB", None)  # or its adapter would go on
    finally:
        for subject in subjects:
            subject.stop()
        shutil.rmtree(folder)
    for kind, examples in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"{len(examples):5} times {kind}\n{min(examples, key=len)}")


if __name__ == "__main__":
    main()
