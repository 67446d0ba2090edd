"""Test data in a real git repository, over real HTTP."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.init import InitPod
from harness.proxy import RunningProxy

pytestmark = pytest.mark.slow

AUTHOR = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *words: str) -> str:
    env = {**os.environ, **AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(tree: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "-m", "x")
    return git(tree, "rev-parse", "HEAD")


class GitServer:
    """Serves the repositories below a folder, as ``git http-backend`` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backend = Path(git(folder, "--exec-path")) / "git-http-backend"
        self.upstream = AnsweringServer(self.answer)

    def answer(self, received: Request) -> Reply:
        path, _, query = received.path.partition("?")
        env = {
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": received.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "".join(received.header("Content-Type")),
            "CONTENT_LENGTH": str(len(received.body)),
            "HTTP_CONTENT_ENCODING": "".join(received.header("Content-Encoding")),
            "GIT_PROTOCOL": "".join(received.header("Git-Protocol")),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run([self.backend], input=received.body, env=env, capture_output=True, check=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        return Reply(status, body, headers)


class Repository:
    """One with a history; ``first`` is the commit of the tag ``v1``, ``second`` the head of ``main``."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "repo"
        self.tree.mkdir()
        git(self.tree, "init", "--quiet", "--initial-branch=main")
        self.first = commit(self.tree, {"a.txt": "old", "data/deep/x.jsonl": "{}"})
        git(self.tree, "tag", "-a", "v1", "-m", "x")
        git(self.tree, "tag", "both")
        self.second = commit(self.tree, {"a.txt": "new"})
        git(self.tree, "branch", "both")
        git(self.tree, "checkout", "--quiet", "-b", "feature/x")
        self.third = commit(self.tree, {"b.txt": "feature"})
        git(self.tree, "checkout", "--quiet", "main")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    server = GitServer(tmp_path_factory.mktemp("git"))
    with server.upstream:
        yield server


@pytest.fixture(scope="module")
def repository(server: GitServer) -> Repository:
    return Repository(server.folder)


def at(server: GitServer, ref: str = "", sub_path: str = "", path: str = "/repo") -> dict[str, str]:
    return {
        "TEST_DATA_GIT_URL": server.upstream.url + path,
        "TEST_DATA_GIT_REF": ref,
        "TEST_DATA_GIT_SUBPATH": sub_path,
        "TEST_DATA_ALLOWED_HOSTS": f"localhost:{server.upstream.port}",
    }


def test_a_branch_is_fetched_without_its_history_and_readable_for_every_user_of_the_pod(
    pod: InitPod, server: GitServer, repository: Repository
):
    assert pod.fetched(**at(server, "main")) == {"a.txt": "new", "data/deep/x.jsonl": "{}"}
    assert pod.commit == repository.second
    assert [path.name for path in pod.data.iterdir() if path.name.startswith(".")] == []
    assert stat.S_IMODE((pod.data / "a.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE((pod.data / "data").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("ref", "content", "which"),
    [
        ("", "new", "second"),
        ("feature/x", "new", "third"),
        ("v1", "old", "first"),
        ("both", "new", "second"),
        ("{first}", "old", "first"),
        ("{short}", "old", "first"),
        ("{third}", "new", "third"),
    ],
    ids=["default", "branch", "tag", "branch before tag", "commit", "short commit", "commit of a branch"],
)
def test_a_ref_is_a_branch_or_a_tag_or_a_commit(
    pod: InitPod, server: GitServer, repository: Repository, ref: str, content: str, which: str
):
    ref = ref.format(first=repository.first, short=repository.first[:8].upper(), third=repository.third)
    assert pod.fetched(**at(server, ref))["a.txt"] == content
    assert pod.commit == getattr(repository, which)


@pytest.mark.parametrize(
    ("sub_path", "files"),
    [("/data/", {"deep/x.jsonl": "{}"}), ("data/deep/x.jsonl", {"x.jsonl": "{}"}), (".", None)],
)
def test_a_part_of_it_is_fetched(
    pod: InitPod, server: GitServer, repository: Repository, sub_path: str, files: dict[str, str] | None
):
    expected = {"a.txt": "new", "data/deep/x.jsonl": "{}"} if files is None else files
    assert pod.fetched(**at(server, "main", sub_path)) == expected


@pytest.mark.parametrize(
    ("ref", "sub_path", "complaint"),
    [
        ("nope", "", "has no branch or tag 'nope', and it is not a commit."),
        ("0123abc", "", "has no commit '0123abc', or more than one."),
        ("--upload-pack=x", "", "The ref '--upload-pack=x' of the test data is not the name"),
        ("a..b", "", "The ref 'a..b' of the test data is not the name"),
        ("main", "nope", "There is nothing at 'nope' in the repository"),
        ("main", "../etc", "sub_path '../etc' leads out"),
        ("main", "data/../../x", "leads out"),
    ],
)
def test_a_missing_item_is_named(
    pod: InitPod, server: GitServer, repository: Repository, ref: str, sub_path: str, complaint: str
):
    assert complaint in pod.refused(**at(server, ref, sub_path))
    assert not (pod.folder / "commit").exists()


def test_a_missing_repository_is_named(pod: InitPod, server: GitServer):
    assert "cannot be fetched: git ls-remote: " in pod.refused(**at(server, "main", path="/nope"))


def test_submodules_are_refused(pod: InitPod, server: GitServer, repository: Repository):
    tree = server.folder / "outer"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    commit(tree, {"own/a.txt": "own"})
    git(tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository.tree), "sub")
    commit(tree, {})
    assert "'sub' of the test data is a submodule" in pod.refused(**at(server, "main", path="/outer"))


def test_submodules_elsewhere_do_not_matter(pod: InitPod, server: GitServer, repository: Repository):
    tree = server.folder / "beside"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    commit(tree, {"own/a.txt": "own"})
    git(tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository.tree), "sub")
    commit(tree, {})
    assert pod.fetched(**at(server, "main", "own", path="/beside")) == {"a.txt": "own"}


@pytest.mark.parametrize(("target", "kept"), [("a.txt", True), ("/etc/hostname", False), ("../../x", False)])
def test_links_stay_inside_or_are_refused(
    pod: InitPod, server: GitServer, tmp_path_factory: pytest.TempPathFactory, target: str, kept: bool
):
    tree = server.folder / f"links-{target.strip('./').replace('/', '-')}"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    (tree / "link").symlink_to(target)
    commit(tree, {"a.txt": "a"})
    where = at(server, "main", path=f"/{tree.name}")
    if kept:
        assert pod.fetched(**where) == {"a.txt": "a", "link": "a"}
    else:
        assert "'link' of the test data is a link that leads out" in pod.refused(**where)


def test_hooks_and_filters_of_a_repository_do_not_run(pod: InitPod, server: GitServer, tmp_path: Path):
    tree = server.folder / "filters"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    commit(tree, {".gitattributes": "* filter=evil\n", "a.txt": "a", ".gitmodules": ""})
    assert pod.fetched(**at(server, "main", path="/filters"))["a.txt"] == "a"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "2130706433"])
def test_nothing_is_fetched_from_this_host_unless_it_is_allowed(
    pod: InitPod, server: GitServer, repository: Repository, host: str
):
    server.upstream.requests.clear()
    url = f"http://{host}:{server.upstream.port}/repo"
    assert f"Test data may not come from '{host.strip('[]')}'" in pod.refused(TEST_DATA_GIT_URL=url)
    assert server.upstream.requests == []


def test_redirects_to_allowed_hosts_are_followed(pod: InitPod, server: GitServer, repository: Repository):
    def redirect(received: Request) -> Reply:
        return Reply(
            301, b"", {"Location": f"{server.upstream.url}/repo{received.path.removeprefix('/old')}"}
        )

    with AnsweringServer(redirect) as front:
        allowed = f"localhost:{front.port}, localhost:{server.upstream.port}"
        where = {"TEST_DATA_GIT_URL": f"{front.url}/old", "TEST_DATA_ALLOWED_HOSTS": allowed}
        assert pod.fetched(**where)["a.txt"] == "new"


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("http://127.0.0.1:1/x/info/refs?service=git-upload-pack", "may not come from '127.0.0.1'"),
        ("http://169.254.169.254/info/refs?service=git-upload-pack", "may not come from '169.254.169.254'"),
        ("file:///etc/info/refs?service=git-upload-pack", "has no http or https address"),
        ("/latest/meta-data", "redirects to a URL that is not a repository"),
        ("/info/refs?service=git-upload-pack", "redirects more than 10 times"),
    ],
)
def test_redirects_to_other_hosts_are_refused(pod: InitPod, location: str, complaint: str):
    with AnsweringServer(lambda _: Reply(302, b"", {"Location": location})) as front:
        where = {"TEST_DATA_GIT_URL": f"{front.url}/x", "TEST_DATA_ALLOWED_HOSTS": f"localhost:{front.port}"}
        assert complaint in pod.refused(**where)


@pytest.mark.parametrize(
    "url", ["ssh://git@github.com/x", "git@github.com:x/y", "file:///etc", "http://", "/x"]
)
def test_other_schemes_than_http_are_refused(pod: InitPod, url: str):
    assert "has no http or https address" in pod.refused(TEST_DATA_GIT_URL=url)


@pytest.mark.parametrize("in_url", [True, False])
def test_credentials_need_tls(pod: InitPod, server: GitServer, in_url: bool):
    where = at(server, "main")
    if in_url:
        where["TEST_DATA_GIT_URL"] = where["TEST_DATA_GIT_URL"].replace("://", "://me:s3cret@")
    else:
        pod.credentials(username="me", password="s3cret")
    text = pod.refused(**where)
    assert "needs https" in text
    assert "s3cret" not in text


def test_a_timeout_is_reported(pod: InitPod, server: GitServer, repository: Repository):
    text = pod.refused(**at(server, "main"), TEST_DATA_GIT_TIMEOUT="1ms")
    assert text == "The git test data did not arrive within 0.001 s (TEST_DATA_GIT_TIMEOUT)."


def test_a_proxy_may_resolve_hosts_that_are_unknown_here(
    pod: InitPod, server: GitServer, repository: Repository
):
    with RunningProxy({"git.invalid": server.upstream.port}) as proxy:
        wanted = {"TEST_DATA_GIT_URL": "http://git.invalid/repo", "TEST_DATA_GIT_REF": "v1"}
        assert pod.fetched(**wanted, **proxy.environment())["a.txt"] == "old"
    assert {line.split("/repo")[0] for line in proxy.requests} == {
        "GET http://git.invalid",
        "POST http://git.invalid",
    }


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1", "metadata.google.internal", "evalhub.default.svc"])
def test_internal_hosts_are_refused_behind_a_proxy_too(
    pod: InitPod, server: GitServer, repository: Repository, host: str
):
    with RunningProxy({host: server.upstream.port}) as proxy:
        text = pod.refused(TEST_DATA_GIT_URL=f"http://{host}/repo", **proxy.environment())
    assert f"may not come from '{host}'" in text
    assert proxy.requests == []
