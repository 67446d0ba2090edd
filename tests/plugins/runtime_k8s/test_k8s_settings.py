"""What the plugin learns from its section, other sections, the environment and the pod it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evalhub_runtime_k8s import plugin
from evalhub_runtime_k8s.settings import Installation, KubernetesSettings, MlflowSection, installation
from evalhub_runtime_k8s.sidecar_config import sidecar_urls
from evalhub_server.errors import SettingsError
from evalhub_server.models.common import Message
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.plugins import PluginContext, convert_section
from evalhub_server.testing.builders import a_job
from harness.imports import loaded_by


def of(
    sections: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    namespace_file: Path = Path("/nowhere"),
) -> Installation:
    context = PluginContext(sections=sections or {})
    return installation(KubernetesSettings(), context, environ or {}, namespace_file)


def test_outside_a_cluster_jobs_run_in_the_tenants_namespace_or_in_default():
    here = of()
    assert (here.tenant_namespace("team-a"), here.tenant_namespace("")) == ("team-a", "default")
    assert (here.own_namespace("team-a"), here.own_namespace("")) == ("team-a", "default")


def test_inside_a_cluster_the_servers_namespace_is_known(tmp_path: Path):
    file = tmp_path / "namespace"
    file.write_text("evalhub-system\n")
    here = of(namespace_file=file)
    assert (here.tenant_namespace("team-a"), here.tenant_namespace("")) == ("team-a", "evalhub-system")
    assert here.own_namespace("team-a") == "evalhub-system"


def test_the_operators_variables_name_the_instance_and_the_profiles():
    environ = {"EVALHUB_INSTANCE_NAME": "evalhub", "EVALHUB_HARDWARE_PROFILES_NAMESPACE": "opendatahub"}
    here = of(environ=environ)
    assert (here.instance, here.profiles_namespace) == ("evalhub", "opendatahub")


def test_mlflow_is_known_from_the_variable_or_else_from_the_configuration():
    sections = {"mlflow": {"tracking_uri": "http://configured", "ca_cert_path": "/ca", "token": "hidden"}}
    assert of(sections).mlflow.tracking_uri == "http://configured"
    here = of(sections, {"MLFLOW_TRACKING_URI": " http://variable "})
    assert (here.mlflow.tracking_uri, here.mlflow.ca_cert_path) == ("http://variable", "/ca")
    sections |= {"sidecar": {"mlflow": {"tracking_uri": "http://for-sidecars"}}}
    assert (
        of(sections, {"MLFLOW_TRACKING_URI": "http://variable"}).mlflow.tracking_uri == "http://for-sidecars"
    )


def test_images_and_the_sidecar_come_from_the_released_servers_sections():
    here = of(
        {
            "service": {"port": 8444, "eval_init_image": "registry.example/evalhub:1"},
            "Sidecar": {
                "base_url": "http://localhost:8080",
                "eval_hub": {"http_timeout": 30000000000},
                "sidecar_container": {"image": "registry.example/evalhub:2"},
            },
        }
    )
    assert (here.init_image, here.sidecar.sidecar_container.image) == (
        "registry.example/evalhub:1",
        "registry.example/evalhub:2",
    )
    assert here.sidecar.eval_hub.http_timeout == pytest.approx(30)


def test_a_wrong_value_in_another_section_is_named_by_its_path():
    with pytest.raises(SettingsError, match=r"sidecar\.eval_hub\.http_timeout"):
        of({"sidecar": {"eval_hub": {"http_timeout": "soon"}}})


@pytest.mark.parametrize(
    ("kubernetes", "sections", "complaint"),
    [
        ({"service_account": "A/b"}, {}, r"kubernetes\.service_account: 'A/b'"),
        ({"init_env": {"1st": "x"}}, {}, r"kubernetes\.init_env: '1st'"),
        ({"sidecar_env": {"A": "", "a b": "x"}}, {}, r"kubernetes\.sidecar_env: 'a b'"),
        (
            {"hardening": {"volume_size_limit": "lots"}},
            {},
            r"kubernetes\.hardening\.volume_size_limit: 'lots'",
        ),
        (
            {"hardening": {"ephemeral_storage_limit": "-1"}},
            {},
            r"kubernetes\.hardening\.ephemeral_storage_limit",
        ),
        (
            {"hardening": {"ephemeral_storage_request": "2Gi", "ephemeral_storage_limit": "1Gi"}},
            {},
            r"ephemeral_storage_request: 2Gi is above .*ephemeral_storage_limit",
        ),
        ({}, {"requests": {"cpu": "much"}}, r"sidecar\.sidecar_container\.resources\.requests\.cpu: 'much'"),
        (
            {},
            {"limits": {"memory": "64Mi"}},
            r"requests\.memory: 128Mi is above .*limits\.memory, which is 64Mi",
        ),
    ],
)
def test_what_no_cluster_would_accept_is_found_at_start(
    kubernetes: dict[str, Any], sections: dict[str, Any], complaint: str
):
    context = PluginContext(sections={"sidecar": {"sidecar_container": {"resources": sections}}})
    with pytest.raises(SettingsError, match=complaint):
        plugin.make_runtime(convert_section(kubernetes, KubernetesSettings, "kubernetes"), context)


def test_the_context_does_not_show_the_configuration():
    assert "hidden" not in repr(PluginContext(sections={"mlflow": {"token": "hidden"}}))


def test_the_runtime_is_called_kubernetes_and_is_light_until_it_is_selected():
    (descriptor,) = plugin.evalhub_runtimes()
    assert (descriptor.name, descriptor.settings_section) == ("kubernetes", "kubernetes")
    assert not {"kubernetes_asyncio", "aiohttp"} & loaded_by("import evalhub_runtime_k8s.plugin")


def test_messages_name_whom_the_sidecar_stands_for():
    facts = Installation(
        instance="hub", namespace="system", mlflow=MlflowSection(tracking_uri="https://mlflow.test")
    )
    message = Message(
        message="http://localhost:8080/api/v1/evaluations/x http://localhost:8080/api/2.0/mlflow/y",
        message_code="c",
    )
    event = BenchmarkEvent(provider_id="p", id="b", status="failed", error_message=message)
    real = sidecar_urls(facts).rewrite(event, a_job()).error_message
    assert real is not None
    assert real.message == (
        "https://hub.system.svc.cluster.local:8443/api/v1/evaluations/x https://mlflow.test/api/2.0/mlflow/y"
    )
