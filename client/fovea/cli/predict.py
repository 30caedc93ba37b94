"""`fovea predict`."""

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from . import exit_codes
from .options import client_of, cluster_options, complete_model, examples, format_option, seconds
from .output import document, number, table

if TYPE_CHECKING:
    from fovea.sdk.images import Prediction


@click.command(
    epilog=examples(
        "fovea predict --model digits 7.png 3.png",
        "fovea predict --model digits --version 2 --format json 7.png",
        "fovea predict --model digits --endpoint 10.0.0.7:31000 *.png",
        "fovea predict --model digits --endpoint 10.0.0.7:8500 --host digits.vision.svc 7.png",
        "fovea predict --model digits --endpoint grpcs://digits.vision.models.example.com:8443 7.png",
        "fovea predict --model digits --gateway 203.0.113.5 7.png",
        "fovea predict --model digits --rest 7.png",
    )
)
@click.argument("images", metavar="IMAGE…", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--model", required=True, metavar="NAME", shell_complete=complete_model, help="The model.")
@click.option(
    "--version", type=click.IntRange(min=1), metavar="N", help="This version. Default: the one that is serving."
)
@click.option(
    "--endpoint",
    metavar="HOST:PORT",
    help="The model server or a gateway; grpcs://HOST:PORT over TLS, with --rest also a URL. Default: found through the "
    "ModelDeployment, by a port-forward if nothing else leads there.",
)
@click.option(
    "--host",
    metavar="NAME",
    default="",
    help="The model's name at a gateway that --endpoint leads to: <model>.<namespace>.svc.",
)
@click.option(
    "--gateway",
    metavar="HOST[:PORT]",
    envvar="FOVEA_GATEWAY",
    default="",
    help="Address of the gateway of all models, such as its Service's EXTERNAL-IP. Port without one: 8500, with --rest 8501. "
    "The model's name there is found in the cluster. Default: $FOVEA_GATEWAY. --endpoint goes before it.",
)
@click.option("--rest", is_flag=True, help="Over REST instead of gRPC.")
@click.option("--signature", metavar="NAME", default="", help="Signature of the model. Default: serving_default.")
@click.option(
    "--input-name", metavar="NAME", default="image", show_default=True, help="Input that takes the image's bytes."
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Classes shown per image.")
@click.option(
    "--timeout",
    metavar="TIME",
    default="30s",
    show_default=True,
    callback=seconds,
    help="How long each image may take. A model without a pod needs more: its start counts.",
)
@click.option(
    "--rollout-timeout",
    metavar="TIME",
    default="10m",
    show_default=True,
    callback=seconds,
    help="How long to wait for the model's first version while it starts; 0: not at all.",
)
@format_option
@cluster_options
@click.pass_context
def predict(
    ctx: click.Context,
    images: Sequence[str],
    model: str,
    version: int | None,
    endpoint: str | None,
    host: str,
    gateway: str,
    rest: bool,
    signature: str,
    input_name: str,
    top: int,
    timeout: float,
    rollout_timeout: float,
    format_: str,
) -> None:
    """Classify image files with a served model.

    Each image is sent as it is; the model decodes and scales it. The command waits for a model
    whose first version is still starting. The exit code is 1 when any image failed.
    """

    def notice(text: str) -> None:
        click.echo(text, err=True)

    if host and not endpoint:
        raise click.UsageError("--host goes with --endpoint only: it is how the gateway there knows the model")
    cluster = client_of(ctx).cluster
    found = (_by_rest if rest else _by_grpc)(
        model,
        images,
        signature,
        input_name,
        endpoint=endpoint,
        host=host,
        gateway=gateway,
        version=version,
        cluster=cluster,
        timeout=timeout,
        rollout_timeout=rollout_timeout,
        notice=notice,
    )
    if format_ == "table":
        click.echo(predictions_table([prediction for prediction in found if not prediction.error], top))
    else:
        click.echo(document([prediction.document() for prediction in found], format_))
    failed = [prediction for prediction in found if prediction.error]
    for prediction in failed:
        click.echo(f"ERROR: {prediction.source}: {prediction.error}", err=True)
    ctx.exit(exit_codes.FAILED if failed else exit_codes.OK)


_LISTED = 16
"""Values of an output up to which a table lists them."""


def _by_rest(model: str, images: Sequence[str], signature: str, input_name: str, **server: Any) -> "list[Prediction]":
    from fovea.sdk.rest import classify

    return classify(model, images, signature=signature, input_name=input_name, **server)


def _by_grpc(model: str, images: Sequence[str], signature: str, input_name: str, **server: Any) -> "list[Prediction]":
    from fovea.sdk.predictor import Predictor

    with Predictor(model, **server) as predictor:
        return predictor.classify(images, signature=signature, input_name=input_name)


def predictions_table(predictions: "Sequence[Prediction]", top: int) -> str:
    """One row per image: label, score, the next best classes; for other models their outputs."""
    if any(not prediction.scores for prediction in predictions):
        rows: list[tuple[object, ...]] = [
            (p.source, p.version or "", "; ".join(f"{name}={_shown(value)}" for name, value in p.outputs.items()))
            for p in predictions
        ]
        return table(("IMAGE", "VERSION", "OUTPUTS"), rows)
    rows = []
    for prediction in predictions:
        best = sorted(prediction.scores.items(), key=lambda item: -item[1])
        others = [f"{name} {number(score)}" for name, score in best if name != prediction.label]
        score = "" if prediction.score is None else number(prediction.score)
        rows.append(
            (prediction.source, prediction.label, score, ", ".join(others[: top - 1]), prediction.version or "")
        )
    return table(("IMAGE", "LABEL", "SCORE", "NEXT", "VERSION"), rows)


def _shown(value: Any) -> str:
    """An output in a line: of bytes their number, of many numbers the shape."""
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return f"{len(base64.b64decode(value['b64'])):,} bytes"
    shape, inner = [], value
    while isinstance(inner, list) and inner:
        shape.append(len(inner))
        inner = inner[0]
    return "×".join(map(str, shape)) + " values" if math.prod(shape) > _LISTED else str(value)
