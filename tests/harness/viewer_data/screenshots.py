"""Write the screenshots of README and documentation: ``PYTHONPATH=tests python -m harness.viewer_data.screenshots``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.browser import Browser
from harness.viewer_data.server import ViewerServer

FOLDER = Path(__file__).parents[3] / "docs" / "images"


def pages_of(server: ViewerServer) -> dict[str, str]:
    """The pages by the names of their files."""
    alpha, beta, gamma = server.jobs.suites.values()
    return {
        "job": f"/ui/jobs/{gamma}",
        "samples": f"/ui/jobs/{alpha}/b/0/samples?outcome=failed",
        "compare": f"/ui/compare?base={alpha}&with={beta}",
        "leaderboard": "/ui/leaderboards?collection=core-v1",
        "jobs-dark": "/ui/jobs?theme=dark&collection=core-v1",
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        ViewerServer(Path(folder), past_jobs=40) as server,
        Browser() as browser,
    ):
        for name, path in pages_of(server).items():
            with browser.tab(size={"width": 1200, "height": 700}) as tab:
                tab.open(f"http://127.0.0.1:{server.port}{path}")
                tab.page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
