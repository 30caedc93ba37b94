"""Names of the columns of an exported model of tables (`fovea_api.contract.columns`)."""

from collections.abc import Sequence
from pathlib import Path

from fovea_api.contract import columns as contract

from fovea_trainers.errors import DataError


def write(model: Path, columns: Sequence[str]) -> None:
    """Write the names, in the order of the input `features`; nothing where they are only numbered."""
    if columns and not all(name.isdecimal() for name in columns):
        contract.write(model, columns)


def read(model: Path) -> tuple[str, ...]:
    """The names; empty for a model without them. Raises DataError for a file that cannot be read."""
    try:
        return contract.read(model)
    except ValueError as error:
        raise DataError(str(error)) from error
