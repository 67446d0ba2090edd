"""Attribution of plugin calls: what a plugin raises carries the plugin's kind, name and distribution, and the method.

:func:`guarded` wraps an instance and :func:`guarded_function` a single function. Exceptions keep their type, so that callers
tell an outage from a bug; their traceback has a note, and :func:`call_fields` returns the keys for a log line. ``SystemExit``
and the like, which would end the server, become :class:`PluginCallError`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeVar, cast

from evalhub_server.errors import EvalHubError

T = TypeVar("T")
_ATTRIBUTE = "__evalhub_plugin_call__"
_PASSED = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)


class PluginCall(NamedTuple):
    """A method of an installed plugin."""

    kind: str
    name: str
    distribution: str
    method: str

    def __str__(self) -> str:
        return f"{self.method}() of the {self.kind} '{self.name}' of {self.distribution}"


class PluginCallError(RuntimeError):
    """A plugin tried to end the process."""


def call_fields(error: BaseException) -> dict[str, str]:
    """The keys for a log line about an error: plugin, distribution and method; empty if no plugin raised it."""
    call: PluginCall | None = getattr(error, _ATTRIBUTE, None)
    if call is None:
        return {}
    return {"plugin": f"{call.kind} {call.name}", "distribution": call.distribution, "method": call.method}


def guarded(plugin: T, interface: type[T], kind: str, name: str, distribution: str) -> T:
    """``plugin`` with the methods of ``interface`` wrapped. Everything else is the plugin's own, also its class."""
    contracts = _contracts(plugin, interface)
    attributes = {name: text for each in contracts for name, text in inspect.get_annotations(each).items()}
    functions = {name for name, annotation in attributes.items() if "Callable" in str(annotation)}
    # As properties, which take a fifth of the time of __getattr__: some are read for every event.
    values = {name: property(attrgetter(f"_plugin.{name}")) for name in attributes.keys() - functions}
    type_ = type(_Guarded.__name__, (_Guarded,), values)
    return cast("T", type_(plugin, contracts, functions, (kind, name, distribution)))


class _Guarded:
    def __init__(
        self,
        plugin: object,
        contracts: Iterable[type[Any]],
        functions: Collection[str],
        origin: tuple[str, str, str],
    ) -> None:
        self._plugin = plugin
        self._origin = origin
        self._functions = functions
        for each in contracts:
            for method, declared in vars(each).items():
                if inspect.isfunction(declared) and not method.startswith("_"):
                    call = PluginCall(*origin, method)
                    function = getattr(plugin, method)
                    if inspect.iscoroutinefunction(declared) and not inspect.iscoroutinefunction(function):
                        function = _awaited(function, method)
                    setattr(self, method, guarded_function(function, call))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._plugin, name)
        if name in self._functions and callable(value):  # such as ``Runtime.observe``
            return guarded_function(value, PluginCall(*self._origin, name))
        return value

    @property
    def __class__(self) -> type[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]  for isinstance
        return type(self._plugin)


def _contracts(plugin: object, interface: type[Any]) -> list[type[Any]]:
    """The abstract classes of the plugin API that the plugin implements: ``interface``, what it consists of and extends it."""
    package = interface.__module__.rpartition(".")[0]
    return [each for each in type(plugin).__mro__ if each.__module__.rpartition(".")[0] == package]


def _awaited(function: Callable[..., Any], method: str) -> Callable[..., Any]:
    """A plain function that must return an awaitable, as a coroutine function."""

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not inspect.isawaitable(result):
            raise TypeError(
                f"{method}() returned a {type(result).__name__} instead of an awaitable; define it with 'async def'"
            )
        return await result

    return coroutine


def guarded_function(function: Callable[..., Any], call: PluginCall) -> Callable[..., Any]:
    """Wrap a function, a coroutine function or an async generator function."""
    return (
        _guarded_coroutine(function, call)
        if inspect.iscoroutinefunction(function)
        else _guarded_plain(function, call)
    )


def _guarded_coroutine(function: Callable[..., Any], call: PluginCall) -> Callable[..., Any]:
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except _PASSED:
            raise
        except BaseException as error:
            _attribute(error, call)
            raise

    return coroutine


def _guarded_plain(function: Callable[..., Any], call: PluginCall) -> Callable[..., Any]:
    def plain(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except _PASSED:
            raise
        except BaseException as error:
            _attribute(error, call)
            raise
        if hasattr(result, "__aiter__"):
            return _iterate(result, call)
        return _await(result, call) if hasattr(result, "__await__") else result

    return plain


async def _await(awaitable: Any, call: PluginCall) -> Any:
    try:
        return await awaitable
    except _PASSED:
        raise
    except BaseException as error:
        _attribute(error, call)
        raise


async def _iterate(iterator: AsyncIterator[Any], call: PluginCall) -> AsyncIterator[Any]:
    try:
        async for item in iterator:
            yield item
    except _PASSED:
        raise
    except BaseException as error:
        _attribute(error, call)
        raise
    finally:
        if (aclose := getattr(iterator, "aclose", None)) is not None:
            await aclose()


def _attribute(error: BaseException, call: PluginCall) -> None:
    """Attach the call to an error. Raises :class:`PluginCallError` instead of an error that would end the process."""
    if not isinstance(error, Exception):
        crash = PluginCallError(f"{call} raised {type(error).__name__}: {error}")
        setattr(crash, _ATTRIBUTE, call)
        raise crash from error
    if hasattr(error, _ATTRIBUTE):
        return
    setattr(error, _ATTRIBUTE, call)
    if not isinstance(error, EvalHubError):
        error.add_note(f"Raised by {call}.")


_WRAPPERS: frozenset[CodeType] = frozenset(
    code
    for function in (_guarded_coroutine, _guarded_plain, _await, _iterate)
    for code in (
        function.__code__,
        *(each for each in function.__code__.co_consts if isinstance(each, CodeType)),
    )
)


def running_call(stack: Iterable[FrameType]) -> PluginCall | None:
    """The innermost plugin call of a stack, whose frames are given from the innermost one outwards."""
    for frame in stack:
        if frame.f_code in _WRAPPERS:
            return frame.f_locals.get("call")
    return None
