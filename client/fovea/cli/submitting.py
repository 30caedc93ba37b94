"""Submitting jobs or batch predictions: each is said as it is taken, or all are printed as one document."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from .each import each
from .output import documents

T = TypeVar("T")


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
