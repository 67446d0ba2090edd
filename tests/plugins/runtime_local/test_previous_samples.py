"""The file with samples of earlier runs that an attempt gets."""

from __future__ import annotations

from pathlib import Path

from evalhub_runtime_local.attempt_files import Attempt, write_private


def test_an_attempt_gets_the_samples_of_the_original_and_of_the_attempts_before(tmp_path: Path):
    stored = tmp_path / "stored.jsonl"
    stored.write_text('{"sample_id": "a"}\n', "utf-8")
    first, second, third = (Attempt(directory=str(tmp_path), number=number) for number in (1, 2, 3))
    assert first.write_previous_samples(None) is None
    assert first.write_previous_samples(stored) == first.previous_samples
    given = Path(first.previous_samples)
    assert given.read_text("utf-8").split() == ['{"sample_id":', '"a"}']
    assert given.stat().st_mode & 0o777 == 0o400
    assert given.stat().st_ino != stored.stat().st_ino
    write_private(first.samples, b'{"sample_id": "b"}\n{"sample')
    stored.unlink()
    second.write_previous_samples(stored)
    third.write_previous_samples(stored)
    for attempt in (second, third):
        lines = [line for line in Path(attempt.previous_samples).read_text("utf-8").splitlines() if line]
        assert lines == ['{"sample_id": "a"}', '{"sample_id": "b"}', '{"sample']


def test_a_link_is_not_followed(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("secret", "utf-8")
    directory = tmp_path / "job"
    directory.mkdir(mode=0o700)
    first, second = (Attempt(directory=str(directory), number=number) for number in (1, 2))
    Path(first.samples).symlink_to(secret)
    try:
        found = second.write_previous_samples(None)
    except OSError:
        found = None
    assert found is None
