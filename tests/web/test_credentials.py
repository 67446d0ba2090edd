"""The token file, bearer tokens, and the callback paths of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_server.errors import SettingsError
from evalhub_server.web.credentials import CHECK_INTERVAL_S, Credentials, split_callback

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
JOBS = "/api/v1/evaluations/jobs"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def later(self) -> None:
        self.now += CHECK_INTERVAL_S


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def opens(credentials: Credentials, token: str) -> bool:
    return credentials.is_valid(f"Bearer {token}".encode("latin-1"))


def reports(credentials: Credentials, callback_path: str, job_id: str = "job-1") -> bool:
    """Whether this callback path permits reports of this job."""
    token, path = split_callback(f"{callback_path}{JOBS}/{job_id}/events".encode())
    return credentials.is_report_token(token, "POST", path.decode())


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER  {} "])
def test_the_token_is_valid_in_any_spelling_of_the_scheme(file: Path, header: str):
    assert Credentials(file).is_valid(header.format(TOKEN).encode())


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic {}",
        "{}",
        "Bearer{}",
        "Bearer {}x",
        "Bearer x{}",
        "Token {}",
        "Bearer {} {}",
    ],
)
def test_other_values_are_not_valid(file: Path, header: str):
    assert not Credentials(file).is_valid(header.replace("{}", TOKEN).encode())
    assert not Credentials(file).is_valid(b"Bearer \xff" + TOKEN.encode())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"tiny", "less than 16"),
        (b"two tokens in one file", "one token"),
        (b"0123456789abcdef\nfedcba9876543210", "one token"),
        ("ä".encode() * 20, "one token"),
        (b"\x1b" * 20, "one token"),
    ],
)
def test_an_unusable_file_is_a_startup_error_with_a_hint(file: Path, content: bytes, why: str):
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"auth_token_file: .*{why}.*openssl rand -hex 32") as caught:
        Credentials(file)
    assert content.decode().strip() == "" or content.decode().strip() not in str(caught.value)


def test_a_missing_file_and_a_folder_are_startup_errors(tmp_path: Path):
    for path in (tmp_path / "nope", tmp_path):
        with pytest.raises(SettingsError, match="auth_token_file"):
            Credentials(path)


def test_a_callback_token_is_valid_for_reports_of_its_job_only(file: Path):
    credentials = Credentials(file)
    path = credentials.callback_path("job-1")
    assert TOKEN not in path
    assert reports(credentials, path)
    for other in ("job-2", "job-1/x", "job-1%2F", "..", "job-1/events/../job-1"):
        assert not reports(credentials, path, other), other
    for suffix, method in (
        ("events", "POST"),
        ("benchmarks/0/samples", "PUT"),
        ("benchmarks/7/artifacts", "PUT"),
    ):
        for job_id in ("job-1", "job-2"):
            token, target = split_callback(f"{path}{JOBS}/{job_id}/{suffix}".encode())
            for used in ("POST", "PUT", "GET", "DELETE"):
                permitted = credentials.is_report_token(token, used, target.decode())
                assert permitted is (job_id == "job-1" and used == method), (suffix, job_id, used)
    for suffix in ("benchmarks/x/samples", "benchmarks/0/samples.csv", "benchmarks/0/logs", "card"):
        assert split_callback(f"{path}{JOBS}/job-1/{suffix}".encode())[0] == b"", suffix
    for wrong in (
        "",
        "/callback/",
        f"/callback/{'x' * 43}",
        f"/callback/{TOKEN}",
        path + "x",
        path[:-1],
        "/x" + path,
    ):
        assert not reports(credentials, wrong), wrong
    assert not opens(credentials, path.rpartition("/")[2])


def test_only_paths_of_reports_are_split_and_others_are_redacted(file: Path):
    start = Credentials(file).callback_path("job-1").encode()
    for below in (b"", b"/", JOBS.encode(), b"/api/v1/health", b"/api/v1/evaluations/jobs//events", b"//"):
        assert split_callback(start + below) == (b"", b"/callback/[redacted]" + below)


def test_callback_paths_stay_valid_after_a_restart(file: Path):
    path = Credentials(file).callback_path("job-1")
    assert reports(Credentials(file), path)
    file.write_text(OTHER)
    assert not reports(Credentials(file), path)


def test_a_changed_file_is_read_and_adapters_can_still_report(file: Path):
    clock = Clock()
    credentials = Credentials(file, clock)
    running = credentials.callback_path("job-1")
    file.write_text(OTHER)
    assert opens(credentials, TOKEN)
    clock.later()
    assert opens(credentials, OTHER)
    assert not opens(credentials, TOKEN)
    for path in (running, credentials.callback_path("job-1")):
        assert reports(credentials, path)


@pytest.mark.parametrize("spoil", ["empty", "missing", "short"])
def test_while_the_file_is_unusable_the_last_token_stays_valid(
    file: Path, spoil: str, capfd: pytest.CaptureFixture[str]
):
    clock = Clock()
    credentials = Credentials(file, clock)
    if spoil == "missing":
        file.unlink()
    else:
        file.write_text("" if spoil == "empty" else "x")
    for _ in range(3):
        clock.later()
        assert opens(credentials, TOKEN)
        assert not opens(credentials, "x")
        assert not opens(credentials, "")
    said = "".join(capfd.readouterr())
    assert said.count("The token file is unusable") == 1
    file.write_text(OTHER)
    clock.later()
    assert opens(credentials, OTHER)
    assert not opens(credentials, TOKEN)
