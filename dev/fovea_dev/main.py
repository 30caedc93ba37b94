"""The command line: `python3 -m fovea_dev up|down|status|tools|images|kubeconfig|prerequisites|uv`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict

from fovea_dev import external, prerequisites, proxies, uv
from fovea_dev.embedded import EmbeddedCluster
from fovea_dev.images import ALL_IMAGES, PLATFORM_IMAGES, named
from fovea_dev.layout import Cache, Cluster, LayoutError
from fovea_dev.progress import Progress, StepFailed
from fovea_dev.standard_output import until_nobody_reads
from fovea_dev.steps import run_steps
from fovea_dev.target import Embedded, External, Target, choose
from fovea_dev.tools import TOOLS, Tools, tool_steps

_EPILOG = """\
environment:
  FOVEA_CACHE          the folder of everything cached or stateful (default: fovea in the user's cache folder)
  FOVEA_KUBECONFIG     use this cluster instead of making one; with FOVEA_REGISTRY, push the images there
  FOVEA_TARGET         embedded or kind: don't look what the machine has
  FOVEA_BASE_IMAGE     the image with Python that Fovea's images are built on
  FOVEA_CLUSTER        name of the embedded cluster (default: fovea); a second one needs a network namespace of its own
  FOVEA_REGISTRY_PORT  port of the embedded cluster's registry on loopback (default: 5000)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    return until_nobody_reads(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    proxies.spare_the_cluster(os.environ)
    progress = Progress()
    try:
        return int(options.run(options, progress))
    except LayoutError as error:
        print(f"fovea_dev: {error}", file=sys.stderr)
        return 2
    except StepFailed as error:
        print(f"fovea_dev: {error.explain()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fovea_dev: interrupted; run it again to go on where it stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="fovea_dev",
        description="A real one-node Kubernetes on this machine, for developing and testing Fovea.",
        epilog=_EPILOG,
        formatter_class=formatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    up = commands.add_parser("up", help="bring the cluster up, heal it, build and push the images that changed")
    up.add_argument("--bare", action="store_true", help="only the cluster: no images of Fovea and its object store")
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="take the cluster down; caches stay")
    down.add_argument(
        "--images", action="store_true", help="remove the node's image store too (the next up pulls again)"
    )
    down.set_defaults(run=_down)
    status = commands.add_parser("status", help="say what runs; exit code 0 if all of it does")
    status.set_defaults(run=_status)
    tools = commands.add_parser("tools", help="build the Go tools and print the folder they are in")
    tools.add_argument("--only", metavar="NAMES", help="comma-separated: only these, e.g. kube-apiserver,etcd")
    tools.set_defaults(run=_tools)
    images = commands.add_parser("images", help="build and push the images that changed, print their references")
    images.add_argument("names", nargs="*", metavar="IMAGE", help=f"of: {', '.join(i.name for i in ALL_IMAGES)}")
    images.add_argument("--json", action="store_true", help="print repository, tag and reference as JSON")
    images.set_defaults(run=_images)
    kubeconfig = commands.add_parser("kubeconfig", help="print the kubeconfig's path")
    kubeconfig.set_defaults(run=_kubeconfig)
    needs = commands.add_parser("prerequisites", help="check what the machine must have")
    needs.set_defaults(run=_prerequisites)
    workspace = commands.add_parser("uv", help="install uv, which makes .venv, and print its path")
    workspace.set_defaults(run=_uv)
    return parser


def _embedded(progress: Progress) -> EmbeddedCluster:
    return EmbeddedCluster(Cluster.from_environment(), progress)


def _other(target: Target, progress: Progress) -> external.OtherCluster:
    return external.OtherCluster(target, Cache.from_environment(), progress)


def _up(options: argparse.Namespace, progress: Progress) -> int:
    target = choose()
    if isinstance(target, Embedded):
        _embedded(progress).up(bare=options.bare)
    else:
        _other(target, progress).up(bare=options.bare)
    return 0


def _down(options: argparse.Namespace, progress: Progress) -> int:
    target = choose()
    embedded = _embedded(progress)
    # Where neither variable names a cluster, all clusters that `up` can have made go: it may have run with another setting.
    named = bool(os.environ.get("FOVEA_TARGET")) or isinstance(target, External)
    if not isinstance(target, Embedded):
        _other(target, progress).down()
    if isinstance(target, Embedded) or (not named and embedded.exists()):
        embedded.down(keep_images=not options.images)
    elif isinstance(target, External) and embedded.exists():
        progress.say("     the embedded cluster stays: FOVEA_TARGET=embedded make down")
    return 0


def _status(_options: argparse.Namespace, progress: Progress) -> int:
    target = choose()
    if not isinstance(target, Embedded):
        return 0 if _other(target, progress).status() else 1
    cluster = _embedded(progress)
    for name, state in cluster.status():
        print(f"{name:<26}{state}")
    return 0 if cluster.is_up() else 1


def _tools(options: argparse.Namespace, progress: Progress) -> int:
    cache = Cache.from_environment()
    prerequisites.demand(prerequisites.for_tools(cache))
    tools = Tools(cache)
    only = options.only.split(",") if options.only else [name for module in TOOLS for name in module.programs]
    run_steps(tool_steps(tools, only), progress)
    print(tools.bin)
    return 0


def _images(options: argparse.Namespace, progress: Progress) -> int:
    target = choose()
    chosen = [named(name) for name in options.names] or list(PLATFORM_IMAGES)
    cluster = _embedded(progress) if isinstance(target, Embedded) else _other(target, progress)
    pushed = cluster.build_images(chosen)
    if options.json:
        print(json.dumps({name: {**asdict(one), "reference": one.reference} for name, one in pushed.items()}, indent=2))
    else:
        for name, one in pushed.items():
            print(f"{name:<24}{one.reference}")
    return 0


def _kubeconfig(_options: argparse.Namespace, progress: Progress) -> int:
    target = choose()
    path = (
        _embedded(progress).cluster.kubeconfig if isinstance(target, Embedded) else _other(target, progress).kubeconfig
    )
    print(path)
    if not path.exists():
        print(f"fovea_dev: {path} does not exist yet; run `make up`", file=sys.stderr)
        return 1
    return 0


def _uv(_options: argparse.Namespace, progress: Progress) -> int:
    cache = Cache.from_environment()
    prerequisites.demand(prerequisites.for_setup(cache))
    with progress.step("uv") as notes:
        path = uv.install(cache, notes)
    print(path)
    return 0


def _prerequisites(_options: argparse.Namespace, progress: Progress) -> int:
    cache = Cache.from_environment()
    target = choose()
    if isinstance(target, Embedded):
        wanted = prerequisites.for_embedded_cluster(cache)
    else:
        wanted = [*prerequisites.for_tools(cache), *_other(target, progress).needs()]
    found = list(dict.fromkeys([*prerequisites.for_setup(cache), *wanted, *prerequisites.for_contract_tests()]))
    for item in found:
        print(f"{'ok     ' if item.met else 'MISSING'} {item.name}: {item.found}")
        if not item.met:
            print(f"        -> {item.remedy}")
    missing_kubectl = shutil.which("kubectl") is None
    if missing_kubectl:
        print("note    kubectl is not on PATH; `fovea_dev tools` builds one")
    return 0 if all(item.met for item in found) else 1
