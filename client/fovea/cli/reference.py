"""docs/reference/cli.md from the commands themselves: python -m fovea.cli.reference > docs/reference/cli.md."""

import sys
from collections.abc import Iterator

import click

from . import exit_codes
from .main import cli

_INTRODUCTION = """# The command line `fovea`

Generated from `--help` by `python -m fovea.cli.reference`; do not edit.

`fovea` reads the usual kubeconfig: `$KUBECONFIG`, `~/.kube/config`, or a pod's own service account. For data and models it
reads the usual S3 variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL_S3` or
`AWS_ENDPOINT_URL`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_CA_BUNDLE`. Without them it reads the namespace's Secret
`fovea-object-store`. If only the keys are set, endpoint, bucket and region come from the Secret. If keys and endpoint are
set, the Secret is not read, and the bucket is `fovea`. `FOVEA_BUCKET` names another bucket in every case.

Results go to standard output, progress and errors to standard error.

| exit code | meaning |
|---|---|
"""

_CODES = (
    (exit_codes.OK, "done; a job or prediction that was waited for is `SUCCEEDED`"),
    (exit_codes.FAILED, "the command failed, or a job or prediction that was waited for is `FAILED`"),
    (exit_codes.USAGE, "wrong usage"),
    (exit_codes.CANCELLED, "a job or prediction that was waited for is `CANCELLED`"),
    (exit_codes.TIMEOUT, "a job or prediction had not ended within `--timeout`; it goes on"),
    (exit_codes.INTERRUPTED, "Ctrl-C; a submitted job or prediction goes on"),
)


def page() -> str:
    """The whole page."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in _CODES)
    return _INTRODUCTION + codes + "".join(_section(path, context) for path, context in _commands())


def _commands() -> Iterator[tuple[str, click.Context]]:
    root = _context(cli, "fovea", None)
    yield "fovea", root
    for name in cli.list_commands(root):
        yield from _below(name, root)


def _below(name: str, parent: click.Context) -> Iterator[tuple[str, click.Context]]:
    group = parent.command
    assert isinstance(group, click.Group)  # noqa: S101 - only groups have parts
    command = group.get_command(parent, name)
    assert command is not None  # noqa: S101 - it was listed
    context = _context(command, name, parent)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            yield from _below(part, context)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    # A fixed width: the page must not depend on the terminal it is written from.
    return command.make_context(name, [], parent, resilient_parsing=True, terminal_width=100, max_content_width=100)


def _section(path: str, context: click.Context) -> str:
    level = "#" * min(2 + max(0, path.count(" ") - 1), 3)
    text = "\n".join(line.rstrip() for line in context.get_help().splitlines())
    return f"\n{level} {path}\n\n```\n{text}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(page())
