"""Whether a folder of files is a SavedModel, which is what can be served, and what it is if it is none."""

from collections.abc import Collection

FILES = ("saved_model.pb", "saved_model.pbtxt")
"""One of them lies directly in the folder of a SavedModel."""

_NAMED = 3
_LONGEST = 100


def problem(paths: Collection[str], folder: str) -> str:
    """Why the files (paths relative to the folder, with `/`) are no SavedModel, without a full stop; empty when they are."""
    if any(name in paths for name in FILES):
        return ""
    deeper = sorted(path.rpartition("/")[0] for path in paths if path.rpartition("/")[2] in FILES)
    if deeper:
        inner = min(deeper, key=lambda path: (path.count("/"), not path.isdigit(), -int(path) if path.isdigit() else 0))
        return f"{folder} is not a SavedModel: {FILES[0]} lies in its folder {inner[:_LONGEST]}, not directly in it"
    there = ", ".join(path[:_LONGEST] for path in sorted(paths)[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return (
        f"{folder} is not a SavedModel: it has no {FILES[0]}, but {there}{more}"
        if paths
        else f"{folder} is not a SavedModel: it is empty"
    )
