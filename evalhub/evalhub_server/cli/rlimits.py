"""How many files this process may have open."""

from __future__ import annotations

import contextlib
import sys

# Enough for thousands of adapters and clients; programs that walk through all possible descriptors stay quick.
ENOUGH = 65_536
# macOS refuses more than its OPEN_MAX, whatever the hard limit says.
OPEN_MAX = 10_240


def raise_descriptor_limit() -> None:
    """Raise the soft limit, which is often 1024, as far as that needs nobody's permission. Adapters inherit it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (ENOUGH, OPEN_MAX):
        wanted_here = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or soft >= wanted_here:
            return
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted_here, hard))
            return
