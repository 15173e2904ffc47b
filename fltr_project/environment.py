"""Reading the environment: every variable strictly, and an error that names it and not its value."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Mapping, Set
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

# django-environ passes over any other line, and prints it: it may hold a password.
ASSIGNMENT = re.compile(r"(export )?([A-Za-z_][A-Za-z0-9_]*)=")

# From here on two names count as one that was misspelt: one letter less, more or in another place.
ALIKE = 0.92
URL = re.compile(r"\w+_(DATABASE|DIRECT)_URL", re.IGNORECASE)


def read_env_file(default: Path, names: Set[str]) -> None:
    """Add the variables of the env file to the environment, where they are not set already.

    ``FLTR_ENV_FILE`` names it, else it is ``default`` if that exists; ``names`` are the project's variables.
    Raises ImproperlyConfigured for a named file that is not there, for one that cannot be read or has another
    line than ``NAME=value``, and for a misspelt name, in the file or of a URL in the environment: unset means
    the default, which for a database is another one than the person has in mind.
    """
    in_file = _read_env_file(default)
    unset = sorted(names - os.environ.keys())
    for given in sorted(os.environ.keys() - names):
        meant = get_close_matches(given.upper(), unset, n=1, cutoff=ALIKE)
        if meant and (given in in_file or URL.fullmatch(meant[0])):
            raise ImproperlyConfigured(
                f"{given} is set, which is no variable of this project, and {meant[0]} is not. Write "
                f"{meant[0]}, or unset {given}."
            )
        if given in in_file and URL.fullmatch(given):
            raise ImproperlyConfigured(
                f"The env file sets {given}, which is no variable of this project. Write one of "
                f"{', '.join(sorted(filter(URL.fullmatch, names)))}, or leave it out."
            )


def _read_env_file(default: Path) -> frozenset[str]:
    """The names in the file, whose variables are in the environment then."""
    named = "FLTR_ENV_FILE" in os.environ
    path = Path(os.environ["FLTR_ENV_FILE"]) if named else default
    if named and not path.is_file():
        raise ImproperlyConfigured(
            f"FLTR_ENV_FILE names {os.environ['FLTR_ENV_FILE']!r}, which is not a file. Name the "
            "file that holds the variables of .env.example, or unset it."
        )
    if not path.exists():
        return frozenset()
    try:
        # Editors of Windows begin a file with a mark, which would be a part of the first name.
        text = path.read_text(encoding="utf-8-sig")
        lines = text.splitlines()
    except (OSError, UnicodeError) as error:
        raise ImproperlyConfigured(
            f"The env file {str(path)!r} cannot be read ({type(error).__name__}). Make it a UTF-8 "
            "text file that this user may read."
        ) from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#") and not ASSIGNMENT.match(line):
            raise ImproperlyConfigured(
                f"Line {number} of the env file {str(path)!r} is not NAME=value. Begin it with the "
                "name, without spaces around the '='."
            )
    environ.Env.read_env(io.StringIO(text))
    matches = (ASSIGNMENT.match(line) for line in lines)
    return frozenset(match[2] for match in matches if match)


def boolean(name: str, default: bool) -> bool:
    """A strict boolean: django-environ reads any unknown word as False."""
    value = os.environ.get(name, "on" if default else "off").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}, which is not a boolean. Use on or off.")


def natural(name: str, most: int) -> int | None:
    """A whole number from 0 to ``most``, or None when the variable is unset."""
    if name not in os.environ:
        return None
    value = os.environ[name].strip()
    if not (value.isascii() and value.isdigit() and int(value) <= most):
        raise ImproperlyConfigured(f"{name} is {value!r}. Use a whole number from 0 to {most}.")
    return int(value)


def text(name: str) -> str:
    """The variable as it is, empty when it is unset."""
    return os.environ.get(name, "").strip()


def words(name: str) -> list[str]:
    """The words between commas, none when the variable is unset."""
    if name not in os.environ:
        return []
    found = [word.strip() for word in os.environ[name].split(",")]
    if not all(found):
        raise ImproperlyConfigured(
            f"{name} has an empty part. Separate its parts by one comma each."
        )
    return found


def apps(name: str, known: Mapping[str, str]) -> list[str]:
    """The Django apps that are named between commas, by a word of ``known`` or by the module's own name."""
    found = []
    for word in words(name):
        module = known.get(word, word)
        try:
            there = find_spec(module) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            raise ImproperlyConfigured(
                f"{name} names {word!r}, which is neither a module nor one of {', '.join(known)}."
            )
        if module not in found:
            found.append(module)
    return found


def secret_key(name: str, own: Path | None) -> str:
    """The key of the environment, else one that this checkout keeps in the file ``own``.

    Empty without either: commands run, and Django refuses to sign anything.
    """
    if name in os.environ:
        # Not through django-environ, which takes a leading $ for the name of another variable.
        if not os.environ[name]:
            raise ImproperlyConfigured(
                f"{name} is empty. Set it to 50 or more random characters, or unset it."
            )
        return os.environ[name]
    if own is None:
        return ""
    try:
        if not own.exists():
            own.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=own.parent) as file:
                file.write(get_random_secret_key())
                file.flush()
                # Exclusive and complete at once: of two first runs one writes and both read.
                os.link(file.name, own)
        return own.read_text(encoding="utf-8")
    except FileExistsError:
        return own.read_text(encoding="utf-8")
    except OSError:
        # A checkout that this user may not write to: sessions end with the process.
        return get_random_secret_key()
