"""Data for the pages of the viewer: a running server with all that they have to show."""

from harness.viewer_data.server import ViewerJobs, ViewerServer

__all__ = ["ViewerJobs", "ViewerServer"]
