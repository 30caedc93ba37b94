"""What objects may be called. Checked before a name becomes part of a path or a key: an empty one would mean them all."""

import re

from fovea_api.contract import names

from .errors import InvalidError

LATEST = "latest"
"""NAME@latest: the newest job of that name that left something; NAME@UID is that very one."""
_EXISTING = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NEW = re.compile(names.NAME_PATTERN)


def existing(what: str, name: str) -> str:
    """The name, if an object of Kubernetes can bear it; such a name needs no quoting. `what` it is, for the message."""
    if not name:
        raise InvalidError(f"the name of the {what} is empty: is a variable unset?")
    if not _EXISTING.fullmatch(name):
        raise InvalidError(f"{name!r} is not a name of a {what}: names are made of a-z, 0-9, '-' and '.'")
    return name


def new(what: str, name: str) -> str:
    """The name, if an object of Fovea's can be given it. `what` it is, for the message."""
    if not _NEW.fullmatch(name) or len(name) > names.MAX_NAME:
        raise InvalidError(
            f"{what} name {name!r}: use at most {names.MAX_NAME} of a-z, 0-9 and '-', beginning with a letter"
        )
    return name
