"""Identity from ``X-Tenant`` and ``X-User``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.engine.jobs import Identity
from evalhub_server.errors import ApiError
from evalhub_server.web.request_context import MAX_LENGTH, IdentityReader

PATH = "/api/v1/evaluations/jobs"


def of(tenant: bytes | None, user: bytes | None, *, cluster: bool, path: str = PATH) -> Identity:
    fields = {name: value for name, value in ((b"x-tenant", tenant), (b"x-user", user)) if value is not None}
    return IdentityReader(required=cluster).read(path, fields)


def refused(tenant: bytes | None, user: bytes | None, *, cluster: bool) -> str:
    with pytest.raises(ApiError) as caught:
        of(tenant, user, cluster=cluster)
    assert caught.value.status == 400
    return caught.value.code


@pytest.mark.parametrize("cluster", [True, False])
def test_both_headers_form_the_identity(cluster: bool):
    assert of(b" team-a\t", b"Jane Doe", cluster=cluster) == Identity(tenant="team-a", user="Jane Doe")


def test_names_may_have_letters_of_any_language():
    assert of(b"team", "Jörg 李".encode(), cluster=True).user == "Jörg 李"


def test_in_local_mode_both_headers_are_optional():
    for nothing in (None, b"", b"  "):
        assert of(nothing, nothing, cluster=False) == Identity()
    assert of(b"Any Tenant!", None, cluster=False) == Identity(tenant="Any Tenant!")


def test_in_a_cluster_both_are_required_the_tenant_first():
    for nothing in (None, b"", b" \t"):
        assert refused(nothing, nothing, cluster=True) == "missing_tenant_header"
        assert refused(nothing, b"u", cluster=True) == "missing_tenant_header"
        assert refused(b"t", nothing, cluster=True) == "missing_user_header"


@pytest.mark.parametrize(
    "value",
    [
        b"a\x00b",
        b"a\tb",
        b"a\x1b[31mb",
        b"a\x7f",
        b"\xe4",
        b"\xc2\x9b",
        b"\xa0a",
        "a\u202eb".encode(),
        b"x" * (MAX_LENGTH + 1),
    ],
)
@pytest.mark.parametrize("cluster", [True, False])
def test_malformed_values_are_refused(value: bytes, cluster: bool):
    assert refused(value, b"u", cluster=cluster) == "invalid_header"
    assert refused(b"t", value, cluster=cluster) == "invalid_header"


@pytest.mark.parametrize(
    "tenant", [b"Team", b"a_b", b"a.b", b"-a", b"a-", b"a/b", b"a b", b"a,b", b"*", b"a" * 64, b"'or'"]
)
def test_the_tenant_of_a_cluster_is_a_namespace(tenant: bytes):
    assert refused(tenant, b"u", cluster=True) == "invalid_header"


@pytest.mark.parametrize("tenant", [b"a", b"0", b"a-b", b"a" * 63])
def test_a_valid_namespace_is_accepted(tenant: bytes):
    assert of(tenant, b"u", cluster=True).tenant == tenant.decode()


@pytest.mark.parametrize("cluster", [True, False])
@pytest.mark.parametrize("user", [b"system", b" system "])
def test_the_system_owner_is_refused_as_user(cluster: bool, user: bytes):
    assert refused(b"t", user, cluster=cluster) == "invalid_header"


@pytest.mark.parametrize(
    "path", ["/api/v1/health", "/metrics", "/api/v1/evaluations", "/api/v1/evaluationsx/jobs", "/"]
)
def test_on_other_paths_the_headers_are_ignored(path: str):
    assert of(b"t", b"system", cluster=True, path=path) == Identity()


@given(st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=300), st.booleans())
def test_any_header_gives_an_identity_or_a_400(tenant: bytes | None, user: bytes | None, cluster: bool):
    try:
        found = of(tenant, user, cluster=cluster)
    except ApiError:
        return
    assert found.user != "system"
    assert not cluster or (found.tenant and found.user)
    assert found.tenant.isprintable()
    assert found.user.isprintable()
