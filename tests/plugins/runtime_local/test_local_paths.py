"""No id leads out of its job's directory, and no other user's directory is used."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalhub_runtime_local.attempt_files import Attempt
from evalhub_runtime_local.paths import JobsDir, make_writable, path_part
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.errors import LaunchError, StartupError
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins import BenchmarkRun, make_private
from evalhub_server.testing.runs import a_run, a_spec

BASE = Path("/base")
ids = st.one_of(
    st.text(st.characters(), max_size=300),
    st.lists(st.sampled_from(["", ".", "..", "/", "a", "%", "%2E", "\0", "\\", "meta", "job.json"])).map(
        "".join
    ),
    st.lists(st.sampled_from(["..", ".", "", "a", "meta"])).map("/".join),
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("arc_easy", "arc_easy"),
        ("Größe 1 日本", "Größe 1 日本"),
        (".hidden", ".hidden"),
        ("...", "..."),
        ("", "%"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("%", "%25"),
        ("%2E%2E", "%252E%252E"),
        ("/etc", "%2Fetc"),
        ("a\\b", "a%5Cb"),
        ("a\0b\n", "a%00b%0A"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_odd_parts_are_encoded(text: str, part: str) -> None:
    assert path_part(text) == part


def test_long_parts_are_shortened_and_stay_different() -> None:
    one, other = path_part("é" * 300), path_part("é" * 301)
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= 255
    assert one.startswith("é" * 40 + "%~")
    assert path_part("a" * 255) == "a" * 255


@given(ids, ids)
@example("é" * 128, path_part("é" * 128))
def test_different_texts_have_different_parts(one: str, other: str) -> None:
    assert (path_part(one) == path_part(other)) == (one == other)


@given(ids, ids, ids, st.integers(0, 1000))
def test_every_path_is_below_its_job_and_index(
    job_id: str, provider_id: str, benchmark_id: str, index: int
) -> None:
    jobs = JobsDir(BASE)
    spec = a_spec(id=job_id, provider_id=provider_id, benchmark_id=benchmark_id, benchmark_index=index)
    job, leaf = jobs.job(job_id), Path(jobs.benchmark(spec))
    assert job.parent == BASE
    assert leaf.is_relative_to(job / str(index))
    # Without links, normalising is what the system does; nothing may change by it.
    assert os.path.normpath(leaf) == str(leaf)
    assert job != BASE
    assert len(leaf.relative_to(job).parts) >= 3
    assert all(len(os.fsencode(part)) <= 255 for part in leaf.parts)
    assert "\0" not in str(leaf)


@given(st.tuples(ids, ids), st.tuples(ids, ids))
def test_two_benchmarks_of_one_index_have_two_directories(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    def leaf(names: tuple[str, str]) -> str:
        return JobsDir(BASE).benchmark(a_spec(id="job", provider_id=names[0], benchmark_id=names[1]))

    assert (leaf(one) == leaf(other)) == (one == other)


def names(spec: JobSpec) -> str:
    return Path(JobsDir(BASE).benchmark(spec)).relative_to(BASE / "job" / "0").as_posix()


@pytest.mark.parametrize(
    ("benchmark_id", "path"),
    [
        ("inspect/petri-x", "p/inspect/petri-x"),
        ("../../../escape", "p/%2E%2E/%2E%2E/%2E%2E/escape"),
        ("/etc/passwd", "p/%/etc/passwd"),
        ("a//b/", "p/a/%/b/%"),
        ("", "p/%"),
        ("meta/job.json", "p/meta/job.json"),
    ],
)
def test_benchmark_ids_become_nested_directories(benchmark_id: str, path: str) -> None:
    assert names(a_spec(id="job", provider_id="p", benchmark_id=benchmark_id)) == path


@pytest.mark.asyncio
@pytest.mark.parametrize("odd", ["../../escape", "/abs", "..", "a\0b", "x" * 300, "meta"])
async def test_a_job_with_odd_ids_runs_and_is_removed(
    runtime: LocalRuntime, jobs: Path, tmp_path: Path, odd: str
) -> None:
    run = a_run({"command": "exit 6"}, id=odd, provider_id=odd, benchmark_id=odd)
    handle = await runtime.launch(run)
    assert (await runtime.wait(handle)).code == 6
    await runtime.stop(handle, 1)
    assert os.listdir(tmp_path) == ["jobs"]  # noqa: PTH208
    assert len(os.listdir(jobs)) == 1  # noqa: PTH208
    await runtime.remove(odd, "")
    assert os.listdir(jobs) == []  # noqa: PTH208


def test_missing_directories_are_made_private(tmp_path: Path) -> None:
    base = tmp_path / "a" / "b"
    JobsDir(base).ensure()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (base, base.parent)] == [0o700, 0o700]
    JobsDir(base).ensure()


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o1777])
def test_a_directory_of_ones_own_is_used_as_it_is(tmp_path: Path, mode: int) -> None:
    base = tmp_path / "jobs"
    base.mkdir()
    base.chmod(mode)
    JobsDir(base).ensure()
    assert stat.S_IMODE(base.stat().st_mode) == mode


def refused(base: Path) -> str:
    with pytest.raises(StartupError) as error:
        JobsDir(base).ensure()
    text = str(error.value)
    assert str(base) in text
    assert "local.jobs_dir" in text
    assert "--data-dir" in text
    return text


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    base = tmp_path / "jobs"
    base.mkdir()
    base.chmod(mode)
    assert f"chmod go-w {base}" in refused(base)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "jobs").symlink_to(tmp_path / "real")
    assert "symbolic link" in refused(tmp_path / "jobs")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert "symbolic link" in refused(tmp_path / "dangling")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs").touch()
    assert "not a directory" in refused(tmp_path / "jobs")
    refused(tmp_path / "jobs" / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "jobs"
    base.mkdir()
    os.chown(base, 65534, -1)
    assert "another user (uid 65534)" in refused(base)


def test_links_are_not_followed_when_removing(tmp_path: Path) -> None:
    jobs = JobsDir(tmp_path / "jobs")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    make_private(jobs.job("one"))
    (jobs.job("one") / "link").symlink_to(precious)
    jobs.job("two").symlink_to(precious)
    assert jobs.remove("one")
    assert jobs.remove("two")
    assert not jobs.remove("two")
    assert list(jobs.base.iterdir()) == []
    assert (precious / "file").exists()


@pytest.mark.parametrize("job_id", ["", ".", "..", "/", "../jobs"])
def test_no_job_id_removes_the_base_or_what_is_beside_it(tmp_path: Path, job_id: str) -> None:
    jobs = JobsDir(tmp_path / "jobs")
    make_private(jobs.job("one"))
    assert not jobs.remove(job_id)
    assert jobs.job("one").is_dir()


def test_read_only_directories_are_opened_for_removal(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o555)
    inner = tmp_path / "tree" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "link").symlink_to(outside)
    for path in (inner, inner.parent, tmp_path / "tree"):
        path.chmod(0o555)
    make_writable(tmp_path / "tree")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tree", inner.parent, inner, outside)]
    assert modes == [0o700, 0o700, 0o700, 0o555]


@pytest.mark.asyncio
async def test_a_link_that_is_named_explicitly_is_followed_if_it_is_ones_own(
    new_runtime: Callable[..., LocalRuntime], tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir(0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    runtime = new_runtime(jobs_dir=str(link))
    await runtime.check()
    assert runtime.jobs_dir.base == tmp_path / "real"
    await runtime.close()
    if os.geteuid() == 0:
        os.chown(link, 65534, 65534, follow_symlinks=False)
        other = new_runtime(jobs_dir=str(link))
        with pytest.raises(StartupError, match=r"local\.jobs_dir: .*link of another user \(uid 65534\)"):
            await other.check()
        await other.close()


def planted_meta(jobs: Path, run: BenchmarkRun) -> Path:
    meta = Path(JobsDir(jobs).benchmark(run.spec), "meta")
    meta.mkdir(parents=True)
    return meta


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.asyncio
@pytest.mark.parametrize("level", [0, 1, 4])
async def test_a_planted_job_directory_is_neither_recovered_nor_used(
    runtime: LocalRuntime, jobs: Path, level: int
) -> None:
    run = a_run({"command": "echo ran"})
    meta = planted_meta(jobs, run)
    planted = meta / "attempt-1.pid"
    planted.write_text(f"{os.getpid()}\n")
    levels = [meta, *meta.parents][: len(meta.relative_to(jobs).parts)]
    os.chown(levels[::-1][level], 65534, 65534)
    assert await runtime.find(run) is None
    with pytest.raises(LaunchError, match=r"another user \(uid 65534\)"):
        await runtime.launch(run)
    assert planted.read_text() == f"{os.getpid()}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["attempt-1.pid", "attempt-1.exit", "attempt-1.handle.json", "job.json"])
async def test_a_planted_file_of_an_attempt_is_not_believed(
    runtime: LocalRuntime, jobs: Path, name: str
) -> None:
    run = a_run({"command": "echo ran"})
    meta = planted_meta(jobs, run)
    content = {
        "attempt-1.exit": "0\n",
        "attempt-1.handle.json": json.dumps(
            {
                "dir": str(meta.parent),
                "attempt": 1,
                "job_spec": "x",
                "pid": os.getpid(),
                "started": 0,
                "boot_id": "",
            }
        ),
    }
    (meta / name).write_text(content.get(name, f"{os.getpid()}\n"))
    os.chown(meta / name, 65534, 65534)
    attempt = Attempt(directory=str(meta.parent), number=1)
    assert attempt.read_handle() is None
    for read, file in ((attempt.read_pid, attempt.pid_file), (attempt.read_exit, attempt.exit_file)):
        if Path(file).name == name or (name == "attempt-1.pid" and read == attempt.read_exit):
            with pytest.raises(OSError, match="another user"):
                read()
        else:
            assert read() is None
    if name == "job.json":
        with pytest.raises(LaunchError, match="another user"):
            await runtime.launch(run)
