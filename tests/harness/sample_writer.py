"""Adapter that copies a file to ``EVALHUB_SAMPLES_PATH`` and reports an accuracy of 0.75.

``sample_writer.py FILE [artifacts]``; with ``artifacts`` it leaves a few files as well.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path


def main() -> None:
    source, *options = sys.argv[1:]
    spec = json.loads(Path(os.environ["EVALHUB_JOB_SPEC_PATH"]).read_text("utf-8"))
    assert spec["samples_path"] == os.environ["EVALHUB_SAMPLES_PATH"]
    assert spec["artifacts_path"] == os.environ["EVALHUB_ARTIFACTS_PATH"]
    shutil.copyfile(source, spec["samples_path"])
    if "artifacts" in options:
        artifacts = Path(spec["artifacts_path"])
        (artifacts / "logs").mkdir()
        (artifacts / "logs" / "é.html").write_text("<script>alert(1)</script>", "utf-8")
        (artifacts / "report.txt").write_text("ok", "utf-8")
        (artifacts / "link").symlink_to("/etc/passwd")
        (artifacts / "too-large.bin").write_bytes(b"x" * 2000)
    event = {
        "provider_id": spec["provider_id"],
        "id": spec["benchmark_id"],
        "benchmark_index": spec["benchmark_index"],
        "status": "completed",
        "metrics": {"acc": 0.75},
    }
    tenant = os.environ.get("POD_NAMESPACE")
    request = urllib.request.Request(
        f"{spec['callback_url']}/api/v1/evaluations/jobs/{spec['id']}/events",
        json.dumps({"benchmark_status_event": event}).encode(),
        {"Content-Type": "application/json", **({"X-Tenant": tenant} if tenant else {})},
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


if __name__ == "__main__":
    main()
