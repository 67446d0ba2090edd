"""The handlers of all pages."""

from __future__ import annotations

from evalhub_server.viewer.catalogue_item_pages import CATALOGUE_ITEMS
from evalhub_server.viewer.catalogue_page import catalogue_page
from evalhub_server.viewer.compare_page import compare_page
from evalhub_server.viewer.compare_sample_page import compare_sample_page
from evalhub_server.viewer.health_page import HEALTH_PAGES
from evalhub_server.viewer.job_actions import JOB_ACTIONS
from evalhub_server.viewer.job_page import benchmark_page, job_page
from evalhub_server.viewer.jobs_page import jobs_page
from evalhub_server.viewer.leaderboard_page import leaderboard_page
from evalhub_server.viewer.log_page import log_page
from evalhub_server.viewer.run_page import RUN_ROUTES
from evalhub_server.viewer.sample_page import sample_page, sample_text
from evalhub_server.viewer.samples_page import samples_page
from evalhub_server.viewer.selection_page import SELECTION_PAGES
from evalhub_server.viewer.trend_page import trend_page

PAGES = (
    *CATALOGUE_ITEMS,
    benchmark_page,
    catalogue_page,
    compare_page,
    compare_sample_page,
    *HEALTH_PAGES,
    *JOB_ACTIONS,
    job_page,
    jobs_page,
    leaderboard_page,
    log_page,
    *RUN_ROUTES,
    sample_page,
    sample_text,
    samples_page,
    *SELECTION_PAGES,
    trend_page,
)
