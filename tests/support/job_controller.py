"""Kubernetes' own Job controller and garbage collector beside an API server of tests. The kubelet is still played."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fovea_dev.apiserver import ApiServer
from fovea_dev.layout import Cache
from fovea_dev.ports import free_ports
from fovea_dev.processes import Program
from fovea_dev.tools import TOOLS, Tools
from support.kube_apiserver import api_server

_NAME = "kube-controller-manager"
_CONTROLLERS = "job-controller,garbage-collector-controller"


@contextmanager
def api_server_with_jobs(folder: Path) -> Iterator[ApiServer]:
    """An API server where Jobs get pods, and what has no owner any more goes."""
    tools = Tools(Cache.from_environment())
    for module in TOOLS:
        if _NAME in module.programs:
            tools.build(module, [_NAME])
    with api_server(folder) as server:
        program = server.plane.controller_manager(server.kubeconfig)
        [port] = free_ports(1)
        # Of a flag that is given twice the last one holds.
        flags = ("--use-service-account-credentials=false", f"--controllers={_CONTROLLERS}", f"--secure-port={port}")
        server.processes.ensure(Program(program.name, [*program.command, *flags]))
        try:
            yield server
        finally:
            server.processes.stop(_NAME)
