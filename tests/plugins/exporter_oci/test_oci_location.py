"""Registry, repository and tag: validation, and the URL of the registry."""

from __future__ import annotations

import pytest

from evalhub_exporter_oci.location import Location, artifact_location
from evalhub_server.models.job import OciCoordinates
from evalhub_server.plugins import ExportRefused


def placed(host: str, repository: str = "team/results", tag: str = "", **allowed: object) -> Location:
    coordinates = OciCoordinates(oci_host=host, oci_repository=repository, oci_tag=tag)
    return artifact_location(coordinates, "1-2-3", **allowed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("registry.example", "https://registry.example"),
        ("Registry.Example:5000", "https://registry.example:5000"),
        ("https://registry.example/", "https://registry.example"),
        ("docker.io", "https://registry-1.docker.io"),
        ("index.docker.io", "https://registry-1.docker.io"),
        ("[::1]:5000", "https://[::1]:5000"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_https_unless_http_is_selected_for_this_computer(host: str, url: str):
    assert placed(host, own_computer=True).url == url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("registry.test:5000", "http://registry.test:5000"),
        ("http://registry.test:5000", "http://registry.test:5000"),
        ("https://registry.test:5000", "https://registry.test:5000"),
    ],
)
@pytest.mark.parametrize("allowed", [{"insecure": True}, {"insecure_hosts": ("registry.test:5000",)}])
def test_plain_http_where_it_is_allowed(host: str, url: str, allowed: dict[str, object]):
    assert placed(host, **allowed).url == url


def test_credentials_do_not_cross_the_network_in_the_clear_unless_allowed():
    with pytest.raises(ExportRefused, match=r"allow that with oci\.insecure_registries: \[registry\.test\]"):
        placed("http://registry.test", insecure_hosts=("another.test",))


@pytest.mark.parametrize("host", ["http://localhost:5000", "http://127.0.0.1", "http://[::1]:1"])
def test_for_the_jobs_of_others_this_computer_is_like_any_host(host: str):
    with pytest.raises(ExportRefused, match="would be accessed over plain HTTP"):
        placed(host)
    assert placed(host, insecure=True).url == host


@pytest.mark.parametrize(
    "host",
    [
        "",
        "registry.example/team",
        "user:password@registry.example",
        "ftp://registry.example",
        "a b",
        "a#b",
        "a?b",
        "-a",
        "a:port",
        "a:0",
        "a:65536",
        "[::::]",
    ],
)
def test_an_invalid_host_is_refused(host: str):
    with pytest.raises(ExportRefused, match=r"oci_host .* is not a registry; write host or host:port"):
        placed(host)


@pytest.mark.parametrize(
    "repository", ["", "/a", "a/", "a//b", "../a", "a/../b", "Team", "a?b", "a#b", "a%2fb", "a:b"]
)
def test_an_invalid_repository_is_refused(repository: str):
    with pytest.raises(ExportRefused, match=r"oci_repository .* is not a repository"):
        placed("registry.example", repository)


def test_the_tag_is_the_clients_or_the_default_with_the_job_id():
    assert placed("registry.example", tag="nightly").text == "registry.example/team/results:nightly-1-2-3"
    assert placed("registry.example").text == "registry.example/team/results:evaluation-card-1-2-3"


@pytest.mark.parametrize("tag", ["a b", "a/b", ".a", "x" * 128])
def test_an_invalid_tag_is_refused(tag: str):
    with pytest.raises(ExportRefused, match=r"oci_tag .* is not a valid tag"):
        placed("registry.example", tag=tag)
