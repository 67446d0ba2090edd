"""Section ``secrets``: values from files, such as those of a mounted Kubernetes Secret."""

from __future__ import annotations

from pathlib import Path

from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sections import convert_section
from evalhub_server.settings.layers import Document, Finding, Location
from evalhub_server.settings.schema import SecretFiles

SECTION = "secrets"
OPTIONAL = ":optional"


def apply_secrets(document: Document, warnings: list[Finding]) -> frozenset[str]:
    """Set every mapped key whose file exists and is not empty; returns these keys in lower case.

    As in the released server, a missing directory is not an error; it is a warning if a file in it is not optional.

    Raises:
        SettingsError: a file that is not optional is missing, or one cannot be read.
    """
    section = document.get(SECTION)
    if section is None:
        return frozenset()
    files = convert_section(section, SecretFiles, SECTION, strict=False)
    if not files.mappings:
        return frozenset()
    folder = Path(files.dir).expanduser()
    if not files.dir or not folder.is_dir():
        if not all(name.endswith(OPTIONAL) for name in files.mappings):
            warnings.append(
                document.warning(
                    f"secrets.dir: no such directory: {files.dir or '(none given)'}; nothing read"
                )
            )
        return frozenset()
    keys = {
        key
        for name, key in files.mappings.items()
        if _apply(document, folder, name.removesuffix(OPTIONAL), key, optional=name.endswith(OPTIONAL))
    }
    return frozenset(key.lower() for key in keys)


def _apply(document: Document, folder: Path, name: str, key: str, *, optional: bool) -> bool:
    # The released server's library converts names to lower case, so its files have such names.
    file = next((f for f in (folder / name, folder / name.lower()) if f.is_file()), folder / name)
    path = f"{SECTION}.mappings.{name}"
    try:
        text = file.read_bytes().decode()  # read_text would change line endings
    except FileNotFoundError:
        if optional:
            return False
        raise SettingsError(
            f"{path}: there is no file {file}. Create it, or map '{name}{OPTIONAL}' if it may be missing."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path}: {file} cannot be read: {reason}.") from None
    value = _without_newline(text)
    if not value:
        return False
    document.set(key, value, Location(f"secret file {file}"))
    return True


def _without_newline(text: str) -> str:
    """``text`` without one final line ending, as editors and ``echo`` append it; the released server keeps it."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
