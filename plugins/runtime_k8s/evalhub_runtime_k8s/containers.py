"""Containers of a benchmark's pod: adapter, sidecar, and an init container that fetches test data."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import UNSET, Struct

from evalhub_runtime_k8s import paths, volumes
from evalhub_runtime_k8s.names import mlflow_ca_bundle, service_ca
from evalhub_runtime_k8s.resources import INIT, SIDECAR_DEFAULTS, container_resources
from evalhub_runtime_k8s.settings import Hardening, Installation
from evalhub_runtime_k8s.test_data import DataSource, revision_mount
from evalhub_runtime_k8s.volumes import Mount
from evalhub_server.plugins import BenchmarkRun, Json, KubernetesRuntime, LaunchError

ADAPTER = "adapter"
SIDECAR = "sidecar"
INIT_NAME = "init"

DEFAULT_SIDECAR_IMAGE = "eval-runtime-sidecar:latest"
DEFAULT_SIDECAR_PORT = 8080


class Container(Struct, frozen=True):
    """A container without its mounts, and the mounts, from which the pod's volumes are derived."""

    body: Json
    mounts: tuple[Mount, ...]

    def plain(self) -> Json:
        return {**self.body, "volumeMounts": [mount.plain() for mount in self.mounts]}


class Pod(Struct, kw_only=True, frozen=True):
    """Values that the containers of one benchmark share.

    ``spec_config_map``: the ConfigMap with ``job.json`` and ``sidecar_config.json``. ``reference_secret``: the Secret
    with references, or empty. ``model_secret``: the tenant's, or empty.
    """

    run: BenchmarkRun
    provider: KubernetesRuntime
    installation: Installation
    spec_config_map: str
    resources: Json
    mlflow_bundle: bool = False
    mlflow_ca_file: str = ""
    model_secret: str = ""
    reference_secret: str = ""
    data: DataSource | None = None

    @property
    def hardening(self) -> Hardening:
        return self.installation.settings.hardening

    @property
    def tracked(self) -> bool:
        return bool(self.installation.mlflow.tracking_uri)

    def job_file(self, path: str) -> Mount:
        volume = volumes.config_map("job-spec", self.spec_config_map)
        return Mount(volume, path, sub_path=path.rpartition("/")[2])

    def shared_mounts(self) -> list[Mount]:
        """Return the mounts that adapter and sidecar both write to."""
        limit = self.hardening.volume_size_limit
        return [
            Mount(volumes.empty("data", limit), paths.DATA, read_only=False),
            Mount(volumes.empty("termination-file-volume", limit), paths.SHARED, read_only=False),
        ]

    def sample_mounts(self) -> list[Mount]:
        """Return the mount where the adapter leaves samples, and the sidecar reads them."""
        limit = self.installation.settings.samples_volume_limit
        return [Mount(volumes.empty("samples", limit), paths.SAMPLES, read_only=False)] if limit else []

    def authority_mounts(self) -> list[Mount]:
        instance = self.installation.instance
        mounts = [volumes.service_ca(service_ca(instance))] if instance else []
        if self.tracked and self.mlflow_bundle:
            mounts.append(volumes.mlflow_ca(mlflow_ca_bundle(instance)))
        return mounts

    def docker_mounts(self) -> list[Mount]:
        connection = self.run.oci_connection
        return [volumes.docker_config(connection)] if connection else []


def security_context() -> Json:
    """Return the context that Pod Security ``restricted`` requires. The user is set by OpenShift or by the image."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def adapter(pod: Pod) -> Container:
    """Return the adapter container. It has neither the service account token nor the model's credentials."""
    provider, hardening = pod.provider, pod.hardening
    image = _text(provider.image)
    if not image:
        raise LaunchError(
            f"Kubernetes runtime is not enabled for provider '{pod.run.spec.provider_id}': it has no runtime.k8s.image."
        )
    docker = pod.docker_mounts() if hardening.docker_config_in_adapter else []
    always = _text(provider.image_pull_policy).lower() == "always"
    context = security_context()
    body: Json = {
        "name": ADAPTER,
        "image": image,
        "imagePullPolicy": "Always" if always else "IfNotPresent",
        "env": _variables(_environment(pod, docker=bool(docker))),
        "resources": pod.resources,
        "securityContext": context,
    }
    entrypoint = () if provider.entrypoint is UNSET else provider.entrypoint
    if command := [word for word in map(str.strip, entrypoint) if word]:
        body["command"] = command
    if hardening.logs_as_message:
        body["terminationMessagePolicy"] = "FallbackToLogsOnError"
    mounts = [
        pod.job_file(paths.JOB_SPEC),
        *pod.shared_mounts(),
        Mount(volumes.pod_namespace(), paths.SERVICE_ACCOUNT),
        *pod.authority_mounts(),
        *docker,
    ]
    if pod.model_secret:
        references = volumes.model_references(pod.reference_secret, pod.model_secret)
        mounts.append(Mount(references, paths.MODEL_AUTH))
    if pod.data is not None:
        mounts.append(pod.data.mount)
    mounts += pod.sample_mounts()
    if hardening.read_only_root:
        context["readOnlyRootFilesystem"] = True
        mounts.append(Mount(volumes.empty("tmp", hardening.volume_size_limit), paths.TMP, read_only=False))
    return Container(body, tuple(mounts))


def _environment(pod: Pod, *, docker: bool) -> Mapping[str, str]:
    """Return the adapter's variables. The server's take precedence over the provider's."""
    variables = {"EVALHUB_MODE": "k8s"}
    if pod.tracked:
        variables["MLFLOW_TRACKING_URI"] = pod.installation.base_url
        variables["MLFLOW_WORKSPACE"] = pod.run.tenant
    if docker:
        variables["OCI_AUTH_CONFIG_PATH"] = paths.DOCKER_CONFIG
    if pod.tracked and pod.mlflow_ca_file:
        variables["MLFLOW_TRACKING_SERVER_CERT_PATH"] = pod.mlflow_ca_file
    if pod.installation.settings.samples_volume_limit:
        variables["EVALHUB_SAMPLES_PATH"] = paths.SAMPLES_FILE
        variables["EVALHUB_ARTIFACTS_PATH"] = paths.ARTIFACTS
    if pod.data is not None:
        variables["EVALHUB_TEST_DATA_DIR"] = paths.TEST_DATA
    for name, value in pod.run.environment.items():
        if not name.startswith("MLFLOW_"):  # for adapters that reach MLflow without a sidecar
            variables.setdefault(name, value)
    for variable in () if pod.provider.env is UNSET else pod.provider.env:
        if variable.name:
            variables.setdefault(variable.name, variable.value)
    return variables


def sidecar(pod: Pod) -> Container:
    """Return the native sidecar: an init container that runs until the adapter has exited."""
    settings = pod.installation.sidecar.sidecar_container
    body: Json = {
        "name": SIDECAR,
        "image": settings.image or DEFAULT_SIDECAR_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": [paths.SIDECAR_PROGRAM],
        "resources": container_resources(settings.resources, SIDECAR_DEFAULTS),
        "restartPolicy": "Always",
        "securityContext": security_context(),
        "startupProbe": {
            "httpGet": {"path": "/health", "port": _port(pod.installation.base_url)},
            "periodSeconds": 2,
            "failureThreshold": 30,
        },
        "terminationMessagePath": paths.SIDECAR_TERMINATION_LOG,
    }
    grace_s = pod.installation.termination_grace_s
    variables = {"TERMINATION_GRACE": f"{grace_s}s"} if grace_s else {}
    if variables := variables | pod.installation.settings.sidecar_env | variables:
        body["env"] = _variables(variables)
    mounts = [
        pod.job_file(paths.JOB_SPEC),
        pod.job_file(paths.SIDECAR_CONFIG),
        *pod.shared_mounts(),
        *pod.authority_mounts(),
        Mount(volumes.token("evalhub-sa-token"), paths.SERVICE_ACCOUNT),
    ]
    if pod.tracked:
        mounts.append(Mount(volumes.token("mlflow-token"), paths.MLFLOW_TOKEN))
    if pod.model_secret:
        mounts.append(Mount(volumes.secret("model-auth", pod.model_secret), paths.MODEL_AUTH))
    mounts += pod.docker_mounts()
    if pod.data is not None and pod.data.has_revision:
        mounts.append(revision_mount(read_only=True))
    mounts += pod.sample_mounts()
    return Container(body, tuple(mounts))


def _port(base_url: str) -> int:
    return urlsplit(base_url).port or DEFAULT_SIDECAR_PORT


def init(pod: Pod) -> Container | None:
    """Return the init container that fetches test data; None if there is nothing to fetch."""
    if pod.data is None or not pod.data.variables:
        return None
    if not pod.installation.init_image:
        raise LaunchError(
            "The benchmark has test data to fetch, but the image for that is not configured; set service.eval_init_image."
        )
    body: Json = {
        "name": INIT_NAME,
        "image": pod.installation.init_image,
        "imagePullPolicy": "IfNotPresent",
        "command": [paths.INIT_PROGRAM],
        # Configured variables do not override those that say what to fetch.
        "env": _variables(pod.data.variables | pod.installation.settings.init_env | pod.data.variables),
        "resources": container_resources(INIT, INIT),
        "securityContext": security_context(),
    }
    if pod.hardening.logs_as_message:
        body["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return Container(body, pod.data.init_mounts)


def _variables(variables: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
