from collections.abc import Callable

AsyncOpenAI: Callable[..., object]
