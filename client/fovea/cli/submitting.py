"""Submitting jobs or batch predictions: each is said as it is taken, or all are printed as one document."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from .each import each
from .output import documents

T = TypeVar("T")


def of_file(noun: str, kind: str, file: str, namespace: str | None) -> list[dict[str, Any]]:
    """The objects of a file, refused as by kubectl where it names another namespace than the command line."""
    from fovea.sdk import submission

    found = submission.load(file, kind)
    for manifest in found:
        own = manifest["metadata"].get("namespace")
        if own and namespace and own != namespace:
            raise click.UsageError(
                f"{file} puts {noun} {manifest['metadata']['name']} into namespace {own}, --namespace says {namespace}: "
                f"pass --namespace {own}, or take the namespace out of the file"
            )
    return found


def send(
    noun: str,
    manifests: Sequence[dict[str, Any]],
    submit: Callable[[dict[str, Any]], T],
    document_of: Callable[[T], dict[str, Any]],
    as_document: str,
) -> tuple[int, list[T]]:
    """Submit them; an exit code, and those that were taken. `as_document`: the format of the document, or table for none."""
    submitted: list[T] = []

    def one(manifest: dict[str, Any]) -> None:
        made = submit(manifest)
        submitted.append(made)
        if as_document == "table":
            metadata = document_of(made)["metadata"]
            name, namespace = metadata["name"], metadata["namespace"]
            click.echo(f"{noun.capitalize()} {name} submitted to namespace {namespace}.")
            click.echo(f"See it: fovea {noun}s describe {name} -n {namespace}", err=True)

    code = each(manifests, one)
    if as_document != "table" and submitted:
        click.echo(documents([document_of(made) for made in submitted], as_document, several=len(manifests) > 1))
    return code, submitted
