"""Test data in a dataset repository of a stand-in for the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.init import InitPod

pytestmark = pytest.mark.slow

SHA = "0123456789abcdef0123456789abcdef01234567"
FILES = {"README.md": "readme", "data/train.jsonl": "train", "data/deep/a b.txt": "a b"}


class Hub:
    """A hub with one dataset; large files are on another host, as on the real hub."""

    def __init__(self) -> None:
        self.gated = False
        self.files = dict(FILES)
        self.storage = AnsweringServer(lambda r: Reply(200, self.files["data/train.jsonl"].encode()))
        self.upstream = AnsweringServer(self.answer)

    def answer(self, received: Request) -> Reply:
        path = received.path.replace("%20", " ")
        if self.gated and received.header("Authorization") != ["Bearer hf_secret"]:
            return Reply(401, b"", {"X-Error-Message": "Access is restricted."})
        if path in (f"/api/datasets/me/set/revision/{r}" for r in ("main", "v1", "refs%2Fpr%2F1")):
            siblings = [{"rfilename": name} for name in self.files]
            return Reply(200, json.dumps({"sha": SHA, "siblings": siblings, "private": False}).encode())
        name = path.removeprefix(f"/datasets/me/set/resolve/{SHA}/")
        if name == "data/train.jsonl":
            return Reply(
                302, b"", {"Location": f"http://127.0.0.1:{self.storage.port}/blob?X-Signature=a%2Fb"}
            )
        return Reply(200, self.files[name].encode()) if name in self.files else Reply(404)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    with hub.upstream, hub.storage:
        yield hub


def at(hub: Hub, revision: str = "", sub_path: str = "", repository: str = "me/set") -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.upstream.url,
        "TEST_DATA_HF_REPO_ID": repository,
        "TEST_DATA_HF_REVISION": revision,
        "TEST_DATA_HF_SUBPATH": sub_path,
    }


@pytest.mark.parametrize("revision", ["", "v1", "refs/pr/1"])
def test_a_dataset_is_fetched_at_one_commit(pod: InitPod, hub: Hub, revision: str):
    assert pod.fetched(**at(hub, revision)) == FILES
    assert pod.commit == SHA


@pytest.mark.parametrize(
    ("sub_path", "files"),
    [
        ("data", {"train.jsonl": "train", "deep/a b.txt": "a b"}),
        ("/data/deep/", {"a b.txt": "a b"}),
        ("README.md", {"README.md": "readme"}),
    ],
)
def test_a_part_of_it_is_fetched(pod: InitPod, hub: Hub, sub_path: str, files: dict[str, str]):
    assert pod.fetched(**at(hub, sub_path=sub_path)) == files


def test_a_token_is_sent_to_the_hub_only(pod: InitPod, hub: Hub):
    hub.gated = True
    pod.credentials(token="hf_secret\n")
    assert pod.fetched(**at(hub)) == FILES
    (stored,) = hub.storage.requests
    assert stored.path == "/blob?X-Signature=a%2Fb"
    assert stored.header("Authorization") == []


def test_a_gated_dataset_is_named(pod: InitPod, hub: Hub):
    hub.gated = True
    pod.credentials(token="hf_wrong")
    text = pod.refused(**at(hub))
    assert "'me/set': 401 Access is restricted." in text
    assert "hf_wrong" not in text


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ({"revision": "nope"}, "The hub does not provide revision 'nope' of the dataset 'me/set': 404"),
        ({"sub_path": "nope"}, "There is nothing at 'nope' in the dataset 'me/set'."),
        ({"sub_path": "../x"}, "sub_path '../x' leads out"),
        ({"repository": "me/set/more"}, "'me/set/more' is not a dataset"),
        ({"repository": "../../etc"}, "'../../etc' is not a dataset"),
    ],
)
def test_a_missing_item_is_named(pod: InitPod, hub: Hub, where: dict[str, str], complaint: str):
    assert complaint in pod.refused(**at(hub, **where))


def test_no_file_leads_out_of_the_directory(pod: InitPod, hub: Hub):
    hub.files = {"../evil": "x"}
    assert "is not a relative path" in pod.refused(**at(hub))


def test_an_unavailable_hub_is_retried(pod: InitPod, hub: Hub):
    bad = [Reply(503), Reply(200, b"no json"), Reply(429)]
    hub.upstream.answer = lambda received: bad.pop() if bad else hub.answer(received)
    assert pod.fetched(**at(hub)) == FILES


def test_a_message_is_no_longer_than_the_kubelet_reads(pod: InitPod):
    pod.fetch(TEST_DATA_HF_REPO_ID="x/" * 5000)
    assert len((pod.folder / "message").read_bytes()) == 4096
