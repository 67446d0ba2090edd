"""Discovery, validation and creation of plugins; broken ones are reported and affect no others."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from evalhub_server.errors import PluginError, SettingsError
from evalhub_server.plugins import PLUGIN_API, PluginContext, Runtime, Storage
from evalhub_server.plugins.descriptors import RESERVED_SECTIONS
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.plugins.manager import LOAD_PLUGINS, Plugins
from evalhub_server.settings.schema import CORE_SECTIONS
from evalhub_server.testing.memory import MemoryStorage
from harness.site import Site

CONTEXT = PluginContext(callback_url="http://127.0.0.1:1")

GOOD = """
import msgspec
from evalhub_server.plugins import Descriptor, hookimpl

class Settings(msgspec.Struct):
    size: int = 1

def make(settings, context):
    from evalhub_server.testing.memory import MemoryStorage
    storage = MemoryStorage()
    storage.size = settings.size
    return storage

@hookimpl
def evalhub_storages():
    return [Descriptor(api=API, name="NAME", factory=make, settings=Settings, help="a storage")]
"""


class StorageSite(Site):
    def storage(self, dist: str, name: str, api: int = PLUGIN_API) -> None:
        self.install(dist, GOOD.replace("NAME", name).replace("API", str(api)))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSite:
    site = StorageSite(tmp_path / "site")
    monkeypatch.syspath_prepend(site.folder)
    return site


def make(plugins: Plugins, name: str, sections: dict[str, object] | None = None) -> Storage:
    return plugins.create(Storage, name, sections or {}, CONTEXT)


def test_first_party_plugins_come_through_the_same_door():
    named = {(info.kind, info.name): info for info in load_plugins(environ={}).infos}
    for key in [("runtime", "local"), ("storage", "sqlite")]:
        assert named[key].distribution == "eval-hub-server"
        assert named[key].state == "available"
        assert named[key].help


def test_a_third_partys_storage_is_made_with_its_settings(site: StorageSite):
    site.storage("third-one", "shelf-one")
    storage = make(load_plugins(environ={}), "shelf-one", {"shelf-one": {"size": 3}})
    assert isinstance(storage, MemoryStorage)
    assert getattr(storage, "size") == 3  # noqa: B009  not an attribute of its class


def test_a_missing_plugin_is_refused_saying_what_is_installed():
    with pytest.raises(
        PluginError,
        match=r"storage 'tape' is selected but no installed plugin provides it.*sqlite.*pip install",
    ):
        make(load_plugins(environ={}), "tape")


def test_a_broken_plugin_is_a_line_in_the_list_and_an_explanation_when_something_is_missing(
    site: StorageSite,
):
    site.install("third-broken", "import no_such_module_anywhere")
    plugins = load_plugins(environ={})
    (info,) = [info for info in plugins.infos if info.distribution == "third-broken"]
    assert info.state == "broken"
    assert "no_such_module_anywhere" in info.error
    with pytest.raises(PluginError, match=r"third_broken .*no_such_module_anywhere"):
        make(plugins, "tape")
    assert isinstance(make(plugins, "sqlite"), Storage)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("None", "returned a NoneType, not a sequence"),
        ("['sqlite']", "returned a str where a Descriptor belongs"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_a_hook_returns_is_checked(site: StorageSite, answer: str, complaint: str):
    site.install(
        f"third-answer-{len(answer)}",
        f"""
        from evalhub_server.plugins import hookimpl

        @hookimpl
        def evalhub_storages():
            return {answer}
        """,
    )
    (info,) = [i for i in load_plugins(environ={}).infos if i.distribution.startswith("third-answer")]
    assert info.state == "broken"
    assert complaint in info.error


def test_a_coroutine_as_a_descriptor_hook_is_broken(site: StorageSite):
    site.install(
        "third-async",
        """
        from evalhub_server.plugins import hookimpl

        class Answer:
            def __await__(self):
                yield

        @hookimpl
        def evalhub_storages():
            return Answer()
        """,
    )
    (info,) = [i for i in load_plugins(environ={}).infos if i.distribution == "third-async"]
    assert "must be a plain function" in info.error


def test_a_misspelt_hook_is_broken_rather_than_never_called(site: StorageSite):
    site.install(
        "third-misspelt",
        """
        from evalhub_server.plugins import hookimpl

        @hookimpl
        def evalhub_storage():
            return []
        """,
    )
    (info,) = [i for i in load_plugins(environ={}).infos if i.distribution == "third-misspelt"]
    assert info.state == "broken"
    assert "evalhub_storage" in info.error


def test_another_plugin_api_is_listed_and_refused_only_when_selected(site: StorageSite):
    site.storage("third-old", "shelf-old", api=PLUGIN_API + 1)
    plugins = load_plugins(environ={})
    assert next(i for i in plugins.infos if i.name == "shelf-old").state == "incompatible"
    assert isinstance(make(plugins, "sqlite"), Storage)
    with pytest.raises(
        PluginError,
        match=f"is written for plugin API {PLUGIN_API + 1}; this server accepts {PLUGIN_API}. Upgrade one of the two",
    ):
        make(plugins, "shelf-old")


def test_two_plugins_of_one_name_are_refused_when_it_is_selected(site: StorageSite):
    site.storage("third-a", "shelf-twice")
    site.storage("third-b", "shelf-twice")
    assert isinstance(make(load_plugins(environ={}), "sqlite"), Storage)
    with pytest.raises(
        PluginError, match="two plugins provide the storage 'shelf-twice': third-a and third-b"
    ):
        make(load_plugins(environ={}), "shelf-twice")


def test_a_descriptor_without_an_api_is_refused_with_the_fix(site: StorageSite):
    site.install("third-no-api", GOOD.replace('"NAME"', '"shelf"').replace("api=API, ", ""))
    plugins = load_plugins(environ={})
    (info,) = [info for info in plugins.infos if info.distribution == "third-no-api"]
    fix = f"a Descriptor has no api; write api={PLUGIN_API}, "
    assert info.state == "broken"
    assert info.error.startswith(fix)
    with pytest.raises(PluginError, match=fix):
        make(plugins, "shelf")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ('name=""', "the name '' of a descriptor is not valid"),
        ('name="Shelf"', "the name 'Shelf' of a descriptor is not valid"),
        ('name="a shelf"', "the name 'a shelf' of a descriptor is not valid"),
        ('name="1st"', "the name '1st' of a descriptor is not valid"),
        ('name="none"', "the name 'none' of a descriptor is reserved"),
        ('name="shelf", section="a.b"', "the section 'a.b' of a descriptor is not valid"),
        ('name="shelf", section="service"', "the section 'service' of a descriptor belongs to the server"),
        ('name="otel"', "the section 'otel' of a descriptor belongs to the server"),
    ],
)
def test_an_unusable_name_or_section_is_refused(site: StorageSite, wrong: str, complaint: str):
    # Not the name of another test's module, which Python would not import again.
    dist = f"third-names-{crc32(wrong.encode())}"
    site.install(dist, GOOD.replace('name="NAME"', wrong).replace("API", str(PLUGIN_API)))
    (info,) = [info for info in load_plugins(environ={}).infos if info.distribution == dist]
    assert info.state == "broken"
    assert info.error.startswith(complaint)


def test_every_section_of_the_server_is_reserved():
    assert {*CORE_SECTIONS, "env_mappings", "secrets"} == RESERVED_SECTIONS


@pytest.mark.parametrize(
    ("allowed", "states"),
    [
        (None, {"third-x": "available", "third-y": "available"}),
        ("third-x", {"third-x": "available", "third-y": "not loaded"}),
        ("third_y, other", {"third-x": "not loaded", "third-y": "available"}),
        ("", {"third-x": "not loaded", "third-y": "not loaded"}),
    ],
)
def test_the_environment_restricts_third_parties_only(
    site: StorageSite, allowed: str | None, states: dict[str, str]
):
    site.storage("third-x", "shelf-x")
    site.storage("third-y", "shelf-y")
    infos = load_plugins(environ={} if allowed is None else {LOAD_PLUGINS: allowed}).infos
    assert {i.distribution: i.state for i in infos if i.distribution.startswith("third")} == states
    assert "available" in {i.state for i in infos if i.name == "sqlite"}


def test_an_unknown_settings_key_is_refused_with_its_path(site: StorageSite):
    site.storage("third-keys", "shelf-keys")
    with pytest.raises(SettingsError, match=r"shelf-keys\.sizes: unknown key \(did you mean size\?\)"):
        make(load_plugins(environ={}), "shelf-keys", {"shelf-keys": {"sizes": 3}})


def test_a_factory_that_makes_something_else_is_refused(site: StorageSite):
    site.install(
        "third-wrong",
        """
        from evalhub_server.plugins import Descriptor, NoSettings, hookimpl

        @hookimpl
        def evalhub_storages():
            return [Descriptor(api=1, name="wrong", factory=lambda settings, context: 42, settings=NoSettings)]

        @hookimpl
        def evalhub_runtimes():
            def make(settings, context):
                import no_such_lib

            return [Descriptor(api=1, name="unimportable", factory=make, settings=NoSettings)]
        """,
    )
    plugins = load_plugins(environ={})
    with pytest.raises(PluginError, match="returned a int, not a Storage"):
        make(plugins, "wrong")
    with pytest.raises(PluginError, match=r"no_such_lib.*pip install"):
        plugins.create(Runtime, "unimportable", {}, CONTEXT)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("(msgspec.Struct)", "", "the settings of the descriptor 'shelf' must be a subclass of msgspec.Struct"),
        ("settings=Settings", "settings=Settings()", "the settings of the descriptor 'shelf' must be a subclass of"),
        ("size: int", "size: 'Missing'", "the types of Settings of the descriptor 'shelf' cannot be resolved: name 'Mi"),
        ("factory=make", "factory=None", "the factory of the descriptor 'shelf' cannot be called"),
        ('help="', 'request=int, help="', "the request of the descriptor 'shelf' must be a subclass of msgspec.Struct"),
        ("@hookimpl", "", "it implements no hook; mark a function such as evalhub_exporters with @hookimpl"),
    ],
)  # fmt: skip
def test_what_no_type_checker_has_seen_is_a_broken_plugin(
    site: StorageSite, old: str, new: str, complaint: str
):
    dist = f"third-untyped-{crc32((old + new).encode())}"
    source = GOOD.replace("NAME", "shelf").replace("API", str(PLUGIN_API))
    assert old in source
    site.install(dist, source.replace(old, new))
    plugins = load_plugins(environ={})
    (info,) = [info for info in plugins.infos if info.distribution == dist]
    assert info.error.startswith(complaint)
    assert "shelf" not in plugins.sections()
