"""The name of the job."""

from fovea.sdk import object_names
from fovea.sdk.errors import InvalidError

from .source import Field


def job_name(source: Field | None, given: str, wanted: str) -> str:
    """The one that the user wants, else the source's as `given`; InvalidError if no job can have it."""
    if wanted:
        return object_names.new("job", wanted)
    if source is None:
        raise InvalidError("the source has no name for the job: pass --name NAME")
    try:
        return object_names.new("job", given)
    except InvalidError as error:
        raise InvalidError(f"{source}: {error}; pass --name NAME") from error
