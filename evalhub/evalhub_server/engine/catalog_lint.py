"""Do the benchmarks that collections name exist? A job over a missing one is refused when it is submitted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from evalhub_server.engine.catalog_files import Loaded
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.settings import Finding, parse_yaml


def dangling_references(
    providers: Iterable[Loaded[ProviderConfig]], collections: Iterable[Loaded[CollectionConfig]]
) -> Iterator[Finding]:
    """A warning for each; clients may still add the provider over REST."""
    offered = {one.id: [benchmark.id for benchmark in one.config.benchmarks] for one in providers}
    for collection in collections:
        for index, benchmark in enumerate(collection.config.benchmarks):
            path = f"benchmarks[{index}]"
            if benchmark.provider_id not in offered:
                key, word, known = "provider_id", benchmark.provider_id, list(offered)
                problem = f"there is no provider '{word}' in the files"
            elif benchmark.id not in offered[benchmark.provider_id]:
                key, word, known = "id", benchmark.id, offered[benchmark.provider_id]
                problem = f"provider '{benchmark.provider_id}' has no benchmark '{word}'"
            else:
                continue
            near = difflib.get_close_matches(word, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            line = parse_yaml(collection.file).line(f"{path}.{key}")
            yield Finding("warning", str(collection.file), line, f"{path}.{key}: {problem}{hint}")
