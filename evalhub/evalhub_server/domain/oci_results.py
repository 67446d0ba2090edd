"""``results.oci``: what became of ``exports.oci``, in the words of the SDK's model."""

from __future__ import annotations

from evalhub_server.domain.record import ExportRecord, JobRecord
from evalhub_server.models.common import Message
from evalhub_server.models.job import OciArtifact, OciResults, OciStatus

EXPORTER = "oci"


def oci_results(job: JobRecord) -> OciResults | None:
    """None until the job has ended, and for one that did not ask. Nobody who asked is left without an answer."""
    if not job.state.terminal or job.request.exports is None or job.request.exports.oci is None:
        return None
    export = next((e for e in job.exports if (e.kind, e.name) == ("exporter", EXPORTER)), None)
    state, text = _status(export)
    outcome = export.outcome if export else None
    return OciResults(
        status=OciStatus(
            state=state,
            message=Message(message=text, message_code=f"oci_export_{state}", message_origin="server"),
        ),
        evaluation_card=OciArtifact(oci_digest=outcome.digest, oci_reference=outcome.reference)
        if outcome
        else None,
    )


def _status(export: ExportRecord | None) -> tuple[str, str]:
    if export is None:
        return (
            "failed",
            "The server has no exporter for it: plugins.exporters of its configuration leaves oci out",
        )
    if export.state == "succeeded":
        return export.state, "Evaluation card pushed"
    if export.state == "failed":
        return export.state, f"Evaluation card not pushed: {export.error}"
    if export.attempts:
        return (
            export.state,
            f"Evaluation card not pushed yet, after attempt {export.attempts}: {export.error}",
        )
    return export.state, "Evaluation card is to be pushed"
