"""`fovea data convert` and `fovea data show`: files on this machine, no cluster."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import examples, format_option
from .output import document, size, table
from .transfer import quiet_option, shown_count

if TYPE_CHECKING:
    from fovea.sdk.shard_folder import Converted

_LEFT_OUT = 5
_PICTURES = ("images", "masks", "captions", "faces")


@click.command(
    epilog=examples(
        "fovea data convert images tfrecord ./pets ./pets-shards",
        "fovea data convert masks tfrecord ./cells ./cells-shards",
        "fovea data convert captions tfrecord ./flickr8k ./flickr8k-shards",
        "fovea data convert faces tfrecord ./lfw ./lfw-shards",
        "fovea data convert csv tfrecord ./flowers.csv ./flowers --label-column kind",
        "fovea data convert libsvm tfrecord ./a8a ./a8a-shards",
    )
)
@click.argument(
    "kind", metavar="csv|libsvm|images|masks|captions|faces", type=click.Choice(["csv", "libsvm", *_PICTURES])
)
@click.argument("to", metavar="tfrecord", type=click.Choice(["tfrecord"]))
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--label-column", metavar="NAME", default="", help="csv: column of the label, by default the last one.")
@click.option("--heading/--no-heading", default=None, help="csv: whether the first line names the columns.")
@click.option("--number-labels", is_flag=True, help="csv: write labels as numbers, not as texts.")
@click.option(
    "--max-bad-ratio",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="csv, libsvm: greatest share of rows that cannot be read.",
)
@click.option("--shard-mib", type=click.IntRange(1), default=128, show_default=True, help="Size of a shard, in MiB.")
@quiet_option
@format_option
def convert(
    kind: str,
    to: str,
    source: Path,
    out: Path,
    label_column: str,
    heading: bool | None,
    number_labels: bool,
    max_bad_ratio: float,
    shard_mib: int,
    quiet: bool,
    format_: str,
) -> None:
    """Write tables or pictures as TFRecord shards.

    Pictures are those with classes (images), with masks, with captions, or of people (faces).

    OUT appears when all is written. Each shard has an index beside it, by which training reads its records in any order.
    """
    from fovea.sdk import convert as converting
    from fovea.sdk import convert_masks, convert_named

    del to  # the only one there is
    shard_bytes = shard_mib * 2**20
    if kind == "csv":
        done = converting.csv(
            source,
            out,
            label_column=label_column,
            heading=heading,
            number_labels=number_labels,
            shard_bytes=shard_bytes,
            max_bad_ratio=max_bad_ratio,
        )
    elif kind == "libsvm":
        done = converting.libsvm(source, out, shard_bytes=shard_bytes, max_bad_ratio=max_bad_ratio)
    else:
        write = {
            "images": converting.images,
            "masks": convert_masks.masks,
            "captions": convert_named.captions,
            "faces": convert_named.faces,
        }[kind]
        done = shown_count(
            lambda progress: write(source, out, shard_bytes=shard_bytes, progress=progress),
            quiet=quiet,
            doing="converting",
        )
    _say(done, format_)


@click.command(
    epilog=examples("fovea data show pets-00000-of-00001.tfrecord", "fovea data show a8a.tfrecord --records 1")
)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--records", type=click.IntRange(0), default=3, show_default=True, help="How many records to show.")
@click.option("--from", "first", type=click.IntRange(1), default=1, show_default=True, help="Number of the first one.")
@format_option
def show(file: Path, records: int, first: int, format_: str) -> None:
    """Show what a TFRecord file holds.

    The whole file is read, and the checksum of each record is compared.
    """
    from fovea.sdk import show as showing

    found, total = showing.records(file, first, records)
    if format_ != "table":
        click.echo(document({"records": total, "shown": [asdict(one) for one in found]}, format_))
        return
    for one in found:
        click.echo(f"record {one.number}, {one.bytes} bytes" + ("" if one.features else ": no Example of TensorFlow"))
        if one.features:
            rows = [(f"  {name}", each.kind, each.count, each.values) for name, each in one.features.items()]
            click.echo(table(("  FEATURE", "KIND", "COUNT", "VALUES"), rows))
    click.echo(f"{file}: {total} records, all checksums are right.")


def _say(done: "Converted", format_: str) -> None:
    if format_ != "table":
        click.echo(document(asdict(done) | {"folder": str(done.folder), "left_out": list(done.left_out)}, format_))
        return
    click.echo(f"{done.folder}: {done.records} records in {done.shards} shards ({size(done.bytes)}).")
    for what in done.left_out[:_LEFT_OUT]:
        click.echo(f"Left out: {what}", err=True)
    if len(done.left_out) > _LEFT_OUT:
        click.echo(f"Left out: {len(done.left_out) - _LEFT_OUT} more; --format json names all", err=True)
    click.echo(f"Next: fovea data upload {done.folder} NAME", err=True)
