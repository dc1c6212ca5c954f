"""Where a library lies: the path of a file, or the address of a database on a PostgreSQL server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import platformdirs

from diarize.errors import ConfigError

VARIABLE = "DIARIZE_LIBRARY"
_SCHEMES = ("postgresql", "postgres")  # libpq accepts both
_SECRETS = ("password", "sslpassword")  # parameters that no message may show
SCHEMA = "diarize"  # that the tables of a library lie in, unless its address names another
_SCHEMA_NAME = re.compile("[a-z][a-z0-9_]{0,62}")  # the longest name in PostgreSQL has 63 bytes
# PostgreSQL manual, section 34.1.1.2. A character that separates two parts is refused inside a part (it is written
# %40 and so on): libpq could separate them elsewhere, and show a piece of the password as the name of a host.
_URL = re.compile(
    r"postgres(ql)?://((?P<user>[^:@/?#\s]*)(:(?P<password>[^@/?#\s]*))?@)?"
    r"(?P<server>[^@/?#\s]*(/[^:@/?#\s]*)?)(\?(?P<parameters>[^@?#\s]*))?"
)
_CURE = "Write postgresql://user@host/database, and in each part %25 for %, %3A for :, %2F for /, %40 for @, %3F for ?."


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A database on a PostgreSQL server. `str` gives the address without passwords, `secret` is the whole.

    `schema` is the one that the tables lie in: several libraries can share a database.
    """

    secret: str = field(repr=False)
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        """Raises ValueError, without the text, for what is no address of a PostgreSQL database."""
        if not _SCHEMA_NAME.fullmatch(self.schema):
            raise ValueError("has a schema that is not written in lower-case letters, digits and _ (63 at most)")
        if not _URL.fullmatch(self.secret) or re.search("%(?!(?!00)[0-9A-Fa-f]{2})", self.secret):
            raise ValueError("cannot be read as the address of a PostgreSQL database")

    def __str__(self) -> str:
        parts = _URL.fullmatch(self.secret)
        assert parts is not None
        shown = [p for p in (parts["parameters"] or "").split("&") if unquote(p.partition("=")[0]) not in _SECRETS]
        shown += [f"schema={self.schema}"] if self.schema != SCHEMA else []
        user = f"{parts['user']}@" if parts["user"] else ""
        return f"postgresql://{user}{parts['server']}" + (f"?{'&'.join(shown)}" if any(shown) else "")


Address = Path | ServerAddress


def parse(text: str | Path | ServerAddress, where: str = "--library") -> Address:
    """The address that a user wrote; `where` is the option or variable it came from.

    Raises ConfigError for an address of something else. Its message shows the scheme alone, as the rest may hold a
    password.
    """
    if isinstance(text, ServerAddress):
        return text
    scheme, separator, _ = str(text).partition(":/")
    shown = f"{scheme}:..."
    if separator and scheme in _SCHEMES:
        if isinstance(text, Path):
            raise ConfigError(where, shown, "a Path cannot hold the address of a server", "Give it as a str.")
        try:
            return _server(text)
        except ValueError as error:
            raise ConfigError(where, shown, str(error), _CURE) from error
    if isinstance(text, str) and re.match("[A-Za-z][A-Za-z0-9+.-]*://", text):
        problem = "is neither a file nor the address of a PostgreSQL database"
        raise ConfigError(where, shown, problem, "Give the path of a file, or postgresql://user@host/database.")
    return Path(text)


def _server(text: str) -> ServerAddress:
    """The address of a database; the parameter `schema`, which libpq does not know, is taken out. Raises ValueError."""
    place, _, parameters = text.partition("?")
    parts = [part for part in parameters.split("&") if part]
    schemas = [part.partition("=")[2] for part in parts if part.partition("=")[0] == "schema"]
    if not schemas:
        return ServerAddress(text)
    rest = "&".join(part for part in parts if part.partition("=")[0] != "schema")
    return ServerAddress(place + (f"?{rest}" if rest else ""), schemas[-1])


def default() -> Address:
    """DIARIZE_LIBRARY, else speakers.db in the user's data folder.

    Raises ConfigError where neither names a place, and as `parse` does.
    """
    try:
        own = Path(platformdirs.user_data_dir("diarize-pipeline"), "speakers.db")
        address = parse(os.environ.get(VARIABLE) or own, VARIABLE)
        return address.expanduser().absolute() if isinstance(address, Path) else address
    except (RuntimeError, OSError, KeyError) as error:  # no home folder, or a working folder that was deleted
        problem = f"no place for the library can be found ({error})"
        raise ConfigError("environment", VARIABLE, problem, "Set it to the full path of a file") from error
