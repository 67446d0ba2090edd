"""What the Inspect adapter uses of the package datasets."""

from collections.abc import Callable

load_dataset: Callable[..., object]
