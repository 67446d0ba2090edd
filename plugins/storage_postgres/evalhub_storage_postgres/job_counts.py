"""SQL that keeps the numbers of jobs, of which the totals of lists are sums; see ``schema.py`` for the tables."""

from __future__ import annotations

_TERMS = (
    "(SELECT '' UNION ALL SELECT unnest(labels) UNION ALL SELECT 'tags=' || tag FROM unnest(tags) AS tag)"
)
"""The terms of a job that its number is stored by: an empty text, its labels and its tags."""
COUNT_JOBS = f"""
    INSERT INTO evalhub_job_counts (term, tenant, state, jobs)
    SELECT term, tenant, state, count(*) FROM evalhub_jobs, LATERAL {_TERMS} AS terms (term)
    GROUP BY term, tenant, state
"""  # noqa: S608  no value
FOLD_COUNTS = f"""
    WITH taken AS (DELETE FROM evalhub_job_count_changes RETURNING tenant, state, tags, labels, jobs)
    INSERT INTO evalhub_job_counts AS stored (term, tenant, state, jobs)
    SELECT term, tenant, state, sum(jobs) FROM taken, LATERAL {_TERMS} AS terms (term)
    GROUP BY term, tenant, state HAVING sum(jobs) <> 0
    ON CONFLICT (term, tenant, state) DO UPDATE SET jobs = stored.jobs + EXCLUDED.jobs
"""  # noqa: S608  no value
DROP_UNUSED_COUNTS = "DELETE FROM evalhub_job_counts WHERE jobs = 0"
