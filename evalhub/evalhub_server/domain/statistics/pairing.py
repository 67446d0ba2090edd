"""When two runs are comparable, and the join of their items."""

from __future__ import annotations

import re
from typing import NamedTuple

from evalhub_server.domain.statistics.columns import Prepared, examples
from evalhub_server.domain.statistics.inputs import CompareOptions, Run, RunHeader
from evalhub_server.domain.statistics.results import Note

MIN_MATCHED_SHARE = 0.95
IGNORED_PARAMETERS = frozenset(
    {
        *(
            "model",
            "model_name",
            "model_id",
            "model_path",
            "model_url",
            "base_url",
            "url",
            "endpoint",
            "api_base",
        ),
        *("api_key", "api_key_env", "token", "auth", "credentials", "secret", "secret_ref", "headers"),
        *("concurrency", "num_concurrent", "max_concurrency", "max_connections", "max_workers", "workers"),
        *("num_workers", "parallelism", "num_threads", "max_samples_in_flight"),
        *("timeout", "timeout_s", "request_timeout", "request_timeout_s", "max_retries", "retries"),
        *("run_name", "job_name", "experiment_name", "num_examples"),
    }
)
"""Parameters that may differ: the model, its address and credentials, concurrency, time-outs, names of runs.
``num_examples`` has a rule of its own."""


class Join(NamedTuple):
    """Rows of the items that both runs have a score of, in order of the baseline, and what is without a partner."""

    baseline: list[int]
    candidate: list[int]
    only_baseline: int
    only_candidate: int
    common: int
    """Items with a record in both runs, failed ones included."""


def header_differences(
    baseline: Run, candidate: Run, options: CompareOptions
) -> tuple[list[Note], list[Note]]:
    """Reasons why two runs are not comparable, and warnings, from what identifies them."""
    reasons: list[Note] = []
    warnings: list[Note] = []
    one, two = baseline.header, candidate.header
    for code, label, left, right in (
        ("other_benchmark", "benchmark", baseline.name, candidate.name),
        ("other_metric", "metric", baseline.rules.metric, candidate.rules.metric),
    ):
        if left != right:
            reasons.append(
                Note(code=code, message=f"the {label} is '{left}' in one run and '{right}' in the other")
            )
    ranges = [(run.rules.low, run.rules.high) for run in (baseline, candidate)]
    if ranges[0] != ranges[1]:
        reasons.append(Note(code="other_range", message="the declared range of the metric differs"))
    if baseline.rules.lower_is_better != candidate.rules.lower_is_better:
        reasons.append(Note(code="other_direction", message="lower is better in one run only"))
    if baseline.rules.groups != candidate.rules.groups:
        reasons.append(Note(code="other_groups", message="the declared meaning of groups differs"))
    for code, label, left, right in (
        ("other_scorer", "scorer or judge", one.scorer, two.scorer),
        ("other_dataset", "revision of the test data", one.dataset_revision, two.dataset_revision),
    ):
        if left and right and left != right:
            reasons.append(
                Note(code=code, message=f"the {label} is '{left}' in one run and '{right}' in the other")
            )
        elif left != right:
            warnings.append(Note(code=f"unknown_{code[6:]}", message=f"the {label} of one run is unknown"))
    for name in sorted(one.parameters.keys() | two.parameters.keys()):
        if name in IGNORED_PARAMETERS or one.parameters.get(name) == two.parameters.get(name):
            continue
        text = f"parameter '{name}' is {_shown(one, name)} in the baseline and {_shown(two, name)} in the candidate"
        if name in options.allow_parameters:
            warnings.append(Note(code="confounder", message=text))
        else:
            reasons.append(
                Note(code="other_parameters", message=f"{text}; allow it by name if that is intended")
            )
    if one.num_examples != two.num_examples:
        text = f"num_examples is {one.num_examples or 'all'} in the baseline and {two.num_examples or 'all'} in the candidate"
        if options.allow_subset:
            warnings.append(
                Note(
                    code="subset", message=f"{text}: the first items are compared, which are no random subset"
                )
            )
        else:
            reasons.append(
                Note(code="other_num_examples", message=f"{text}; allow the subset if that is intended")
            )
    return reasons, warnings


def join(baseline: Prepared, candidate: Prepared) -> Join:
    """Match the items of two runs by sample id."""
    rows = candidate.rows
    if baseline.ids == candidate.ids:
        both = [
            row
            for row, pair in enumerate(zip(baseline.values, candidate.values, strict=True))
            if None not in pair
        ]
        return Join(both, both, 0, 0, len(baseline.ids))
    left: list[int] = []
    right: list[int] = []
    common = 0
    for row, name in enumerate(baseline.ids):
        other = rows.get(name)
        if other is None:
            continue
        common += 1
        if baseline.values[row] is not None and candidate.values[other] is not None:
            left.append(row)
            right.append(other)
    return Join(left, right, len(baseline.ids) - common, len(candidate.ids) - common, common)


def join_differences(
    baseline: Prepared, candidate: Prepared, joined: Join, options: CompareOptions
) -> tuple[list[Note], list[Note]]:
    """Reasons and warnings from the items themselves."""
    reasons: list[Note] = []
    warnings: list[Note] = []
    for label, prepared in (("baseline", baseline), ("candidate", candidate)):
        reasons += [Note(code=each.code, message=f"{label}: {each.message}") for each in prepared.problems]
    union = max(
        joined.common + joined.only_baseline + joined.only_candidate,
        0 if options.allow_subset else max(baseline.n_expected, candidate.n_expected),
    )
    if not options.allow_subset and joined.common < MIN_MATCHED_SHARE * union:
        text = f"only {joined.common} of {union} samples are in both runs; at least 95 % are needed"
        if not joined.common:
            text += f"; the ids are {examples(baseline.ids)} in the baseline and {examples(candidate.ids)} in the candidate"
        reasons.append(Note(code="other_items", message=text))
    elif joined.only_baseline or joined.only_candidate:
        warnings.append(
            Note(
                code="unmatched_items",
                message=f"{joined.only_baseline} samples are in the baseline only, {joined.only_candidate} in the candidate "
                "only; the common ones are compared",
            )
        )
    changed = changed_items(baseline, candidate)
    if changed:
        text = f"the input or target of {len(changed)} samples differs, such as {examples(changed)}"
        if options.allow_prompt_change:
            warnings.append(Note(code="prompt_under_test", message=f"{text}: the prompt is what is compared"))
        else:
            reasons.append(Note(code="other_prompts", message=text))
    return reasons, warnings


def changed_items(baseline: Prepared, candidate: Prepared) -> list[str]:
    """Ids of common items whose input or target differs, where both runs have a hash of it."""
    one, two = baseline.key_hashes, candidate.key_hashes
    if not one or not two or (one == two and baseline.ids == candidate.ids):
        return []
    return [
        name
        for row, name in enumerate(baseline.ids)
        if (other := candidate.rows.get(name)) is not None
        and one[row] != two[other]
        and one[row] is not None
        and two[other] is not None
    ]


def has_ids(prepared: Prepared) -> bool:
    """The samples have ids to match them by."""
    return any(prepared.ids)


def _shown(header: RunHeader, name: str) -> str:
    if name not in header.parameters:
        return "absent"
    return re.sub(r"\s+", " ", repr(header.parameters[name]))[:80]
