"""The optional components under ``deploy/``, and what kubectl builds with them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_docs.metrics import metrics
from evalhub_server import __version__
from evalhub_server.cli.selection import storage_name
from evalhub_server.settings import load_settings
from harness.apischema import schema_problems
from harness.kube.rights import OPERATOR, WITH_CLUSTER

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPONENTS = sorted(path.name for path in (DEPLOY / "components").iterdir())
CUSTOM = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator, of which the client has no schema."""

Object = dict[str, Any]


def documents(file: str) -> list[Object]:
    return list(yaml.safe_load_all((DEPLOY / file).read_text("utf-8")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """The server with all components, as ``kubectl apply -k`` creates it."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    folder = tmp_path_factory.mktemp("deploy") / "deploy"
    shutil.copytree(DEPLOY, folder)
    kustomization = folder / "server" / "kustomization.yaml"
    document = yaml.safe_load(kustomization.read_text("utf-8"))
    document["components"] = [f"../components/{name}" for name in COMPONENTS]
    kustomization.write_text(yaml.safe_dump(document).replace("registry.example", "registry.test:5000/eval"))
    command = ["kubectl", "kustomize", str(folder / "server")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return list(yaml.safe_load_all(text))


def test_the_components_are_offered_in_the_kustomization():
    text = (DEPLOY / "server" / "kustomization.yaml").read_text("utf-8")
    assert re.findall(r"- \.\./components/([a-z-]+)", text) == [
        "monitoring",
        "cluster-reader",
        "postgresql",
    ]
    assert (
        sorted(re.findall(r"`components/([a-z-]+)`", (DEPLOY / "README.md").read_text("utf-8"))) == COMPONENTS
    )


def test_kubectl_builds_the_server_with_every_component(built: list[Object]):
    kinds = [item["kind"] for item in built]
    assert {"ServiceMonitor", "PrometheusRule", "NetworkPolicy", "Deployment"} <= set(kinds)
    assert [
        problem for item in built if item["kind"] not in CUSTOM for problem in schema_problems(item)
    ] == []


def test_images_are_set_in_one_place(built: list[Object]):
    [server] = [item for item in built if item["kind"] == "Deployment"]
    containers = {c["name"]: c for c in server["spec"]["template"]["spec"]["containers"]}
    image = f"registry.test:5000/eval/evalhub:{__version__}"
    assert containers["evalhub"]["image"] == image
    values = {item["name"]: item["value"] for item in containers["evalhub"]["env"]}
    assert values["EVALHUB_IMAGE"] == image
    assert containers["api"]["image"].startswith("registry.test:5000/eval/kube-rbac-proxy:")


def test_every_object_has_the_recommended_labels(built: list[Object]):
    recommended = {
        "app.kubernetes.io/name": "evalhub",
        "app.kubernetes.io/part-of": "evalhub",
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/version": __version__,
    }
    for item in built:
        assert recommended.items() <= item["metadata"]["labels"].items(), item["metadata"]["name"]
        if item["kind"] == "Deployment":
            assert recommended.items() <= item["spec"]["template"]["metadata"]["labels"].items()
            assert item["spec"]["selector"]["matchLabels"] == {"app": "evalhub", "component": "server"}


def test_with_postgresql_there_are_two_replicas_and_nothing_of_the_volume(
    built: list[Object], tmp_path: Path
):
    [server] = [item for item in built if item["kind"] == "Deployment"]
    spec = server["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    assert "PersistentVolumeClaim" not in [item["kind"] for item in built]
    pod = spec["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    stops = {}
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        stops[container["name"]] = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert stops["evalhub"] < min(stops["api"], stops["callbacks"]) < pod["terminationGracePeriodSeconds"]
    [budget] = [item for item in built if item["kind"] == "PodDisruptionBudget"]
    labels = spec["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    [spread] = pod["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels.items()


def test_the_server_accepts_the_configuration_for_postgresql(tmp_path: Path):
    [config] = documents("components/postgresql/config.yaml")
    (tmp_path / "db-url").write_text("postgres://u:p@db.test:5432/evalhub?sslmode=require")
    second = tmp_path / "replicas.yaml"
    second.write_text(config["data"]["replicas.yaml"].replace("/etc/evalhub/database", str(tmp_path)))
    [first] = [
        item for item in documents("server/config.yaml") if item["metadata"]["name"] == "evalhub-config"
    ]
    (tmp_path / "config.yaml").write_text(first["data"]["config.yaml"])
    settings = load_settings(local=False, configdir=tmp_path, environ={"CONFIG_PATH": str(second)})
    assert storage_name(settings) == "postgres"
    assert settings.samples_in_bucket
    assert settings.sections["database"]["url"].startswith("postgres://")


def test_the_monitor_selects_the_service_of_metrics():
    [monitor] = documents("components/monitoring/servicemonitor.yaml")
    [service] = [s for s in documents("server/services.yaml") if s["metadata"]["name"] == "evalhub-metrics"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_reader_may_see_namespaces_and_nodes_only():
    role = documents("components/cluster-reader/rights.yaml")[0]
    granted = {
        (group, resource): frozenset(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert {**OPERATOR, **granted} == WITH_CLUSTER


# --- Expressions ---


def dashboard() -> Object:
    return json.loads((DEPLOY / "components" / "monitoring" / "evalhub.json").read_text("utf-8"))


def rules() -> list[Object]:
    [document] = documents("components/monitoring/rules.yaml")
    [group] = document["spec"]["groups"]
    return group["rules"]


def expressions() -> list[str]:
    targets = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*targets, *(rule["expr"] for rule in rules())]


def test_every_metric_and_label_in_an_expression_exists():
    sections = {
        section.split("`", 1)[0]: section for section in metrics("").replace("## `", "\0").split("\0")[1:]
    }
    assert "evalhub_workloads_running" in sections
    for expression in expressions():
        for name in re.findall(r"\b(?:evalhub|http)_[a-z_]+\b(?=[{\[ \n)]|$)", expression):
            if name.startswith("http_r") and name not in sections:  # a label
                assert name in sections["http_server_request_count_total"]
                continue
            assert name.removesuffix("_bucket") in sections, expression


def test_panels_do_not_overlap_and_have_one_data_source():
    panels = dashboard()["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    [variable] = dashboard()["templating"]["list"]
    assert variable["name"] == "datasource"


def test_every_alert_says_what_happened_and_what_to_do():
    for rule in rules():
        assert rule["alert"].startswith("EvalHub")
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
