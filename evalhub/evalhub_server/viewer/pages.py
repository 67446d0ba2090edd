"""The handlers of all pages."""

from __future__ import annotations

from evalhub_server.viewer.compare_page import compare_page
from evalhub_server.viewer.jobs_page import jobs_page
from evalhub_server.viewer.leaderboard_page import leaderboard_page
from evalhub_server.viewer.samples_page import samples_page
from evalhub_server.viewer.trend_page import trend_page

PAGES = (trend_page, leaderboard_page, compare_page, jobs_page, samples_page)
