"""Options that every command takes, before or after the verb, and the client they lead to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from fovea.sdk.client import Client

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "json", "yaml")


@dataclass(frozen=True)
class Where:
    """Which cluster, namespace and store a command is about."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    store_endpoint: str | None = None

    def client(self) -> "Client":
        """A client; nothing is connected yet."""
        from fovea.sdk.client import Client

        return Client(
            namespace=self.namespace,
            context=self.context,
            kubeconfig=self.kubeconfig,
            store_endpoint=self.store_endpoint,
        )


def client_of(context: click.Context) -> "Client":
    """The client that the command's options lead to."""
    return (context.find_object(Where) or Where()).client()


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    where = context.find_object(Where) or Where()
    name = parameter.name or ""
    if value is not None:
        where = replace(where, **{name: value})
    context.obj = where


def _where_option(*names: str, help: str, **more: Any) -> Callable[[F], F]:  # noqa: A002 - click's word
    return click.option(*names, expose_value=False, callback=_remember, help=help, **more)


def namespace_option(command: F) -> F:
    """--namespace alone, for a command that asks no cluster."""
    return _where_option("-n", "--namespace", metavar="NAME", help="Namespace of the job. Default: the source's.")(
        command
    )


def cluster_options(command: F) -> F:
    """--namespace, --context, --kubeconfig; read with `@click.pass_obj` as a Where."""
    for option in (
        _where_option(
            "--kubeconfig",
            metavar="FILE",
            help="Kubeconfig file. Default: $KUBECONFIG, then ~/.kube/config, then a pod's service account.",
        ),
        _where_option("--context", metavar="NAME", help="Context of the kubeconfig. Default: its current one."),
        _where_option("-n", "--namespace", metavar="NAME", help="Namespace. Default: the context's."),
    ):
        command = option(command)
    return command


def store_options(command: F) -> F:
    """--store-endpoint; keys and bucket come from the environment or the namespace's Secret."""
    return _where_option(
        "--store-endpoint",
        metavar="URL",
        help="Object store, for example https://s3.example.com. Default: $AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, "
        "then the namespace's Secret fovea-object-store, through a port-forward where it is inside the cluster. "
        'Its bucket: $FOVEA_BUCKET, then the Secret\'s, or "fovea" where keys and endpoint are given and no Secret is read.',
    )(command)


def format_option(command: F) -> F:
    """--format table|json|yaml."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How the result is printed.",
    )(command)


def examples(*lines: str) -> str:
    """Epilog of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def pairs(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """Callback of a repeatable option name=value."""
    del context
    result = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not name=value", param=parameter)
        result[name] = content
    return result


def seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of a duration: 90, 90s, 15m, 2h."""
    del context
    if value is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(value[-1:], 0)
    number = value[:-1] if unit else value
    try:
        result = float(number) * (unit or 1)
    except ValueError:
        result = math.nan
    if not math.isfinite(result) or result < 0:
        raise click.BadParameter(f"{value!r} is not a duration: write 90, 90s, 15m or 2h", param=parameter)
    return result


def _complete(names_of: Callable[["Client"], list[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    def names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        del parameter
        from fovea.sdk.errors import FoveaError

        client = client_of(context)
        try:
            found = names_of(client)
        except FoveaError:
            # A shell that completes a word has no place for a message: no candidates.
            return []
        return [name for name in found if name.startswith(incomplete)]

    return names


complete_job = _complete(lambda client: [job.name for job in client.jobs.list()])
complete_prediction = _complete(lambda client: [each.metadata.name for each in client.predictions.list()])
complete_model = _complete(lambda client: [model.name for model in client.models.list()])
complete_deployment = _complete(lambda client: [each.metadata.name for each in client.deployments.list()])
