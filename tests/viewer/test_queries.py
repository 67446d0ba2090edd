"""The number of reads of the database for a page, which must not grow with its rows."""

from __future__ import annotations

import pytest

from harness.running import call
from harness.viewer_data import ViewerServer
from harness.viewer_data.views import url_of, views

MAX_READS = 5


def test_a_page_needs_few_reads(viewer: ViewerServer, subtests: pytest.Subtests):
    for name in views():
        with subtests.test(name):
            url = url_of(viewer, name)
            url += f"{'&' if '?' in url else '?'}density=comfortable"  # in no other test, which would share its page
            before = viewer.reads()
            assert call(viewer.port, "GET", url).status == 200
            assert viewer.reads() - before <= MAX_READS
