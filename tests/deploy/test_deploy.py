"""The manifests under ``deploy/``: validity, completeness and access rights."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from evalhub_runtime_k8s.names import service_account, service_ca
from harness.apischema import schema_problems
from harness.kube import rights
from harness.manifests import here, manifests
from harness.program import run_program

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDERS = ("server", "tenant")

Object = dict[str, Any]


def objects_in(folder: str) -> list[Object]:
    files = sorted((DEPLOY / folder).glob("*.yaml"))
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text("utf-8"))]
    return [document for document in documents if document["kind"] != "Kustomization"]


def the(kind: str, name: str) -> Object:
    (found,) = [
        item
        for folder in FOLDERS
        for item in objects_in(folder)
        if (item["kind"], item["metadata"]["name"]) == (kind, name)
    ]
    return found


def pod() -> Object:
    return the("Deployment", "evalhub")["spec"]["template"]["spec"]


def container(name: str) -> Object:
    (found,) = [c for c in pod()["containers"] if c["name"] == name]
    return found


def variables() -> dict[str, str]:
    return {item["name"]: item["value"] for item in container("evalhub")["env"]}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_api_knows_every_field(folder: str):
    found = objects_in(folder)
    assert found
    assert {item["metadata"]["name"]: schema_problems(item) for item in found if schema_problems(item)} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_in_the_kustomization(folder: str):
    document = yaml.safe_load((DEPLOY / folder / "kustomization.yaml").read_text("utf-8"))
    files = {file.name for file in (DEPLOY / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert set(document["resources"]) == files


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_builds_it(folder: str):
    command = ["kubectl", "kustomize", str(DEPLOY / folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: list[Object] = list(yaml.safe_load_all(built))
    assert [problem for item in found for problem in schema_problems(item)] == []
    for item in found:
        if item["kind"] == "Deployment":
            (server,) = [c for c in item["spec"]["template"]["spec"]["containers"] if c["name"] == "evalhub"]
            values = {variable["name"]: variable["value"] for variable in server["env"]}
            assert values["EVALHUB_IMAGE"] == server["image"] != "evalhub"


# --- Rights ---


def granted(role: str) -> dict[tuple[str, str], frozenset[str]]:
    return {
        (group, resource): frozenset(rule["verbs"])
        for rule in the("ClusterRole", role)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_the_server_has_exactly_the_operators_rights_in_tenant_namespaces():
    assert granted("evalhub-tenant") == {
        **rights.OPERATOR,
        ("mlflow.kubeflow.org", "experiments"): frozenset({"create", "get", "list", "update", "delete"}),
        ("trustyai.opendatahub.io", "providers"): frozenset({"get", "list"}),
        ("trustyai.opendatahub.io", "collections"): frozenset({"get", "list"}),
    }


def test_cluster_wide_rights_are_limited_to_token_and_access_reviews():
    bindings = [b for folder in FOLDERS for b in objects_in(folder) if b["kind"] == "ClusterRoleBinding"]
    assert [binding["roleRef"]["name"] for binding in bindings] == ["evalhub-auth"]
    assert granted("evalhub-auth") == {
        ("authentication.k8s.io", "tokenreviews"): frozenset({"create"}),
        ("authorization.k8s.io", "subjectaccessreviews"): frozenset({"create"}),
    }


def test_a_job_may_only_report_events_and_upload_samples():
    assert granted("evalhub-job") == {
        ("trustyai.opendatahub.io", "status-events"): frozenset({"create", "update"})
    }
    (subject,) = the("RoleBinding", "evalhub-job")["subjects"]
    assert subject["name"] == service_account("evalhub", "evalhub-system")
    assert the("ServiceAccount", subject["name"])


def test_every_binding_refers_to_an_existing_role_and_account():
    for folder in FOLDERS:
        for item in objects_in(folder):
            if item["kind"].endswith("RoleBinding"):
                assert the("ClusterRole", item["roleRef"]["name"])
                for subject in item["subjects"]:
                    assert subject["kind"] == "Group" or the("ServiceAccount", subject["name"])


# --- The server's pod ---


def test_every_container_is_restricted():
    assert pod()["securityContext"]["runAsNonRoot"] is True
    for found in pod()["containers"]:
        context = found["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["runAsNonRoot"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True


def test_every_mounted_volume_exists():
    volumes = {volume["name"] for volume in pod()["volumes"]}
    mounted = {mount["name"] for found in pod()["containers"] for mount in found["volumeMounts"]}
    assert mounted == volumes
    for volume in pod()["volumes"]:
        if "configMap" in volume:
            assert the("ConfigMap", volume["configMap"]["name"])
        if "persistentVolumeClaim" in volume:
            assert the("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])


@pytest.mark.parametrize("name", ["evalhub", "evalhub-api", "evalhub-metrics"])
def test_services_lead_to_ports_of_the_pod(name: str):
    service = the("Service", name)["spec"]
    labels = the("Deployment", "evalhub")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    ports = {port["containerPort"] for found in pod()["containers"] for port in found["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports


def test_only_the_proxies_reach_the_server():
    assert (variables()["API_HOST"], variables()["PORT"]) == ("127.0.0.1", "8444")
    for name in ("api", "callbacks"):
        arguments = container(name)["args"]
        assert "--upstream=http://127.0.0.1:8444/" in arguments
        assert "--auth-header-user-field-name=X-User" in arguments


@pytest.mark.parametrize(("name", "resource"), [("api", "evaluations"), ("callbacks", "status-events")])
def test_a_proxy_authorizes_in_the_namespace_of_the_tenant(name: str, resource: str):
    arguments = container(name)["args"]
    assert f"--config-file=/etc/kube-rbac-proxy/{name}.yaml" in arguments
    config = yaml.safe_load(the("ConfigMap", "evalhub-proxy")["data"][f"{name}.yaml"])["authorization"]
    assert config["rewrites"] == {"byHttpHeader": {"name": "X-Tenant"}}
    assert config["resourceAttributes"] == {
        "apiGroup": "trustyai.opendatahub.io", "resource": resource, "namespace": "{{ .Value }}",
    }  # fmt: skip


def test_sidecars_reach_the_callback_proxy_at_the_configured_address(tmp_path: Path):
    namespace_file = tmp_path / "namespace"
    namespace_file.write_text(the("Namespace", "evalhub-system")["metadata"]["name"])
    where = here(
        {"EVALHUB_INSTANCE_NAME": variables()["EVALHUB_INSTANCE_NAME"]}, namespace_file=namespace_file
    )
    request = {
        "name": "j",
        "model": {"url": "http://m", "name": "m"},
        "benchmarks": [{"id": "b1", "provider_id": "plain"}],
    }
    built = manifests(request, where)
    assert (
        "https://evalhub.evalhub-system.svc.cluster.local:8443"
        in built.config_map["data"]["sidecar_config.json"]
    )
    (port,) = the("Service", "evalhub")["spec"]["ports"]
    assert port["port"] == 8443
    assert port["targetPort"] == container("callbacks")["ports"][0]["containerPort"]
    job_pod = cast("Object", built.job["spec"]["template"]["spec"])
    assert job_pod["serviceAccountName"] == "evalhub-evalhub-system-job"
    assert service_ca("evalhub") in (DEPLOY / "README.md").read_text("utf-8")


# --- Its configuration ---


def test_the_server_accepts_its_configuration(tmp_path: Path):
    """Also in the layout of a Kubernetes mount: links to a folder that is replaced by updates."""
    data = tmp_path / "config" / "..2026_01_01"
    data.mkdir(parents=True)
    (data / "config.yaml").write_text(the("ConfigMap", "evalhub-config")["data"]["config.yaml"])
    (tmp_path / "config" / "..data").symlink_to(data.name)
    (tmp_path / "config" / "config.yaml").symlink_to("..data/config.yaml")
    environ = variables() | {
        "EVAL_HUB_CONFIG_DIR": str(tmp_path / "config"),
        "EVALHUB_DATA_DIR": str(tmp_path / "data"),
        "EVALHUB_IMAGE": "evalhub:1",
        "EVALHUB_INIT_IMAGE": "evalhub:1",
    }
    done = checked(environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 errors, 0 warnings" in done.stdout


def checked(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return run_program("check", env=kept | environ)


def test_the_liveness_of_the_server_is_probed_through_the_proxy():
    server = container("evalhub")
    for probe in (server["startupProbe"], server["livenessProbe"]):
        assert probe["httpGet"] == {"path": "/api/v1/health", "port": 8453, "scheme": "HTTPS"}
    assert container("api")["ports"][0]["containerPort"] == 8453
    patience_s = {
        name: probe["periodSeconds"] * probe["failureThreshold"]
        for name, probe in (("server", server["livenessProbe"]), ("startup", server["startupProbe"]))
    }
    # The proxy fails its own probe within 30 seconds, and is restarted before the server.
    assert patience_s["server"] > 30
    assert patience_s["startup"] >= 300


def test_hardware_profiles_are_read_where_the_server_has_the_right_to():
    assert granted("evalhub-hardware-profiles").keys() == {
        ("infrastructure.opendatahub.io", "hardwareprofiles")
    }
    binding = the("RoleBinding", "evalhub-hardware-profiles")
    assert binding["roleRef"]["name"] == "evalhub-hardware-profiles"
    namespace = variables()["EVALHUB_HARDWARE_PROFILES_NAMESPACE"]
    assert namespace == the("Namespace", "evalhub-system")["metadata"]["name"]


def test_metrics_are_read_from_one_namespace_only():
    policy = the("NetworkPolicy", "evalhub")["spec"]
    labels = the("Deployment", "evalhub")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    rules = {port["port"]: rule.get("from") for rule in policy["ingress"] for port in rule["ports"]}
    ports = {port["containerPort"] for found in pod()["containers"] for port in found["ports"]}
    probed = {found["livenessProbe"]["httpGet"]["port"] for found in pod()["containers"]}
    assert set(rules) == ports | probed
    assert [port for port, source in rules.items() if source] == [8081]


def test_the_proxy_lets_the_probes_pass():
    api = container("api")
    (ignored,) = [a for a in api["args"] if a.startswith("--ignore-paths=")]
    paths = ignored.removeprefix("--ignore-paths=").split(",")
    assert paths == ["/api/v1/health", "/api/v1/ready"]
    assert api["readinessProbe"]["httpGet"]["path"] == "/api/v1/ready"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path):
    units = sorted((DEPLOY / "systemd").iterdir())
    for unit in units:
        text = unit.read_text("utf-8").replace(
            "/opt/evalhub/bin/eval-hub-server", shutil.which("true") or "true"
        )
        (tmp_path / unit.name).write_text(text, "utf-8")
    command = ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
