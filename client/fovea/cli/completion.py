"""`fovea completion`: the script by which a shell completes commands, options and names."""

import click
from click.shell_completion import get_completion_class

from .options import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        'eval "$(fovea completion bash)"        # in ~/.bashrc',
        'eval "$(fovea completion zsh)"         # in ~/.zshrc',
        "fovea completion fish > ~/.config/fish/completions/fovea.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    Commands, options and choices are completed, and names of jobs, models, ModelDeployments and predictions from
    the cluster.
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has all of SHELLS
    root = ctx.find_root()
    click.echo(found(root.command, {}, "fovea", "_FOVEA_COMPLETE").source())
