"""Failures of the host, the pod and the sources: each has a message that names it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.init import InitPod
from harness.waiting import wait_until
from init.test_init_git import GitServer, at, commit, git
from init.test_init_hf import SHA
from init.test_init_s3 import FROM_BUCKET, Bucket, with_credentials

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> GitServer:
    return GitServer(tmp_path_factory.mktemp("git"))


def repository(server: GitServer, name: str, files: dict[str, str]) -> dict[str, str]:
    """A repository with one commit, as the environment names it."""
    tree = server.folder / name
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    commit(tree, files)
    return at(server, "main", path=f"/{name}")


def failure(pod: InitPod, **environ: str) -> str:
    """The termination message; unlike with :meth:`InitPod.refused`, earlier data may remain."""
    assert pod.fetch(**environ).returncode == 1
    return (pod.folder / "message").read_text("utf-8")


def test_a_stopped_pod_says_that_its_data_are_incomplete(pod: InitPod):
    released = threading.Event()

    def answer(_: Request) -> Reply:
        released.wait(30)
        return Reply(404)

    with AnsweringServer(answer) as hub:
        command = [sys.executable, "-m", "evalhub_init"]
        environ = pod.environment(HF_ENDPOINT=hub.url, TEST_DATA_HF_REPO_ID="me/set")
        process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE)
        wait_until(lambda: hub.requests, "the first request")
        process.terminate()
        _, errors = process.communicate(timeout=30)
        released.set()
    assert process.returncode == 143  # as a shell reports SIGTERM
    assert errors.endswith(b"Stopped before the test data had arrived.\n")


def test_a_file_that_is_there_already_is_not_overwritten(pod: InitPod, server: GitServer):
    (pod.data / "a.txt").write_text("mine")
    with server.upstream:
        text = failure(pod, **repository(server, "again", {"a.txt": "theirs"}))
    assert text == "'a.txt' exists already in the directory of the test data."
    assert pod.files == {"a.txt": "mine"}


def test_a_sub_path_that_is_a_link_is_refused(pod: InitPod, server: GitServer):
    where = repository(server, "linked", {"a.txt": "a"})
    (server.folder / "linked" / "link").symlink_to("a.txt")
    commit(server.folder / "linked", {})
    with server.upstream:
        text = failure(pod, **(where | {"TEST_DATA_GIT_SUBPATH": "link"}))
    assert text == "sub_path 'link' of the test data is a link; name what it points to."


def test_a_pointer_of_git_lfs_is_named(pod: InitPod, server: GitServer):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    where = repository(server, "lfs", {"large.bin": pointer})
    with server.upstream:
        done = pod.fetch(**where)
    assert done.returncode == 0, done.stderr
    assert "'large.bin' is in Git LFS: only its pointer was fetched" in done.stderr


def test_a_system_without_git_is_named(pod: InitPod, server: GitServer, tmp_path: Path):
    where = repository(server, "gitless", {"a.txt": "a"})
    with server.upstream:
        text = pod.refused(**where, PATH=str(tmp_path))
    assert text == "The program 'git' is not installed where the test data are fetched."


def test_a_credential_that_is_not_readable_is_named(pod: InitPod):
    (pod.secret / "AWS_ACCESS_KEY_ID").mkdir()
    text = pod.refused(**FROM_BUCKET)
    assert text.startswith("The credential 'AWS_ACCESS_KEY_ID' of the test data's secret cannot be read")


def test_a_revision_that_can_not_be_written_is_named(pod: InitPod, server: GitServer):
    missing = str(pod.folder / "missing" / "commit")
    with server.upstream:
        text = failure(pod, **repository(server, "unwritten", {"a.txt": "a"}), INIT_METADATA_PATH=missing)
    assert text == f"The revision cannot be written to {missing}: No such file or directory."


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (["data/a/b", "data/a"], "'a' cannot be written: Is a directory."),
        (["data/a", "data/a/b"], "The directory of 'a/b' cannot be created: "),
    ],
)
def test_a_name_that_is_a_file_and_a_directory_is_refused(pod: InitPod, keys: list[str], complaint: str):
    first, second = keys
    bucket = Bucket(**{first: b"1"})
    with_credentials(pod, bucket)
    with bucket.upstream:
        assert pod.fetched(**FROM_BUCKET)
        bucket.objects = {second: b"2"}
        assert failure(pod, **FROM_BUCKET).startswith(complaint)


@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_that_stays_unavailable_fails_after_some_attempts(pod: InitPod, status: int):
    with AnsweringServer(lambda _: Reply(status)) as hub:
        text = pod.refused(HF_ENDPOINT=hub.url, TEST_DATA_HF_REPO_ID="me/set")
        attempts = len(hub.requests)
    assert text.startswith(f"Looking up the dataset 'me/set' failed {attempts} times: ")
    assert attempts > 1


def test_a_hub_that_names_no_commit_is_refused(pod: InitPod):
    with AnsweringServer(lambda _: Reply(200, b'{"sha": "main", "siblings": []}')) as hub:
        text = pod.refused(HF_ENDPOINT=hub.url, TEST_DATA_HF_REPO_ID="me/set", TEST_DATA_HF_REVISION="v1")
    assert text == "The hub does not return the commit of 'v1' of 'me/set'."


def test_a_dataset_that_takes_too_long_is_named(pod: InitPod):
    document = f'{{"sha": "{SHA}", "siblings": []}}'.encode()
    with AnsweringServer(lambda _: Reply(200, document)) as hub:
        environ = {"HF_ENDPOINT": hub.url, "TEST_DATA_HF_REPO_ID": "me/set", "TEST_DATA_HF_TIMEOUT": "1ms"}
        text = pod.refused(**environ)
    assert text == "The dataset 'me/set' did not arrive within 0.001 s (TEST_DATA_HF_TIMEOUT)."


def test_a_host_that_breaks_the_connection_is_named(pod: InitPod):
    with AnsweringServer(lambda _: None) as broken:
        text = pod.refused(
            TEST_DATA_GIT_URL=f"{broken.url}/repo", TEST_DATA_ALLOWED_HOSTS=f"localhost:{broken.port}"
        )
    assert text.startswith("The host 'localhost' of the test data cannot be reached: ")
