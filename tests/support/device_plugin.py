"""A device plugin, as vendors of GPUs have one: it registers with the kubelet of the embedded cluster, and gives devices to containers.

It registers through the plugin watcher, whose folder lies below the kubelet's root. The folder of the older way is fixed
(/var/lib/kubelet/device-plugins): two embedded clusters on one machine would share it.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

REGISTRATION, DEVICE_PLUGIN = "pluginregistration.Registration", "v1beta1.DevicePlugin"
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
"""What the plugin sets in the containers that get devices: as NVIDIA's does."""
_MESSAGES: dict[str, dict[str, str]] = {
    "Empty": {},
    "PluginInfo": {"type": "string", "name": "string", "endpoint": "string", "supported_versions": "string*"},
    "RegistrationStatus": {"plugin_registered": "bool", "error": "string"},
    "Device": {"ID": "string", "health": "string"},
    "ListAndWatchResponse": {"devices": "Device*"},
    "ContainerAllocateRequest": {"devices_ids": "string*"},
    "AllocateRequest": {"container_requests": "ContainerAllocateRequest*"},
    "Variable": {"key": "string", "value": "string"},
    "ContainerAllocateResponse": {"envs": "Variable*"},
    "AllocateResponse": {"container_responses": "ContainerAllocateResponse*"},
}
"""The fields that are used here, of k8s.io/kubelet/pkg/apis, numbered from 1 in this order; `*`: repeated. A map is on the
wire what a list of keys and values is, and options of a plugin that has none are empty."""


def _made() -> dict[str, Any]:
    package = "fovea.device_plugin"
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="device_plugin.proto", package=package, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(fields.items(), 1):
            label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            added = message.field.add(name=key, number=number, label=label)
            plain = kind.rstrip("*")
            if plain in _MESSAGES:
                added.type, added.type_name = field.TYPE_MESSAGE, f".{package}.{plain}"
            else:
                added.type = {"string": field.TYPE_STRING, "bool": field.TYPE_BOOL}[plain]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(find(f"{package}.{name}")) for name in _MESSAGES}


MESSAGES = _made()


class DevicePlugin:
    """A resource with some devices; `given` are the devices of each container that got some, in their order."""

    def __init__(self, resource: str, devices: Sequence[str]) -> None:
        self.resource, self.devices = resource, list(devices)
        self.given: list[list[str]] = []
        self.registered, self._ended = threading.Event(), threading.Event()
        self.error = ""

    def services(self) -> list[grpc.GenericRpcHandler]:
        """What the kubelet calls: who it is, then what it has, and once for each container that gets devices."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        registration = {
            "GetInfo": _served(unary, self._info, "Empty"),
            "NotifyRegistrationStatus": _served(unary, self._notified, "RegistrationStatus"),
        }
        plugin = {
            "GetDevicePluginOptions": _served(unary, lambda *_: MESSAGES["Empty"](), "Empty"),
            "ListAndWatch": _served(stream, self._list, "Empty"),
            "Allocate": _served(unary, self._allocate, "AllocateRequest"),
        }
        return [
            grpc.method_handlers_generic_handler(REGISTRATION, registration),
            grpc.method_handlers_generic_handler(DEVICE_PLUGIN, plugin),
        ]

    def end(self) -> None:
        """Lists nothing any more."""
        self._ended.set()

    def _info(self, _request: Any, _context: Any) -> Any:
        return MESSAGES["PluginInfo"](type="DevicePlugin", name=self.resource, supported_versions=["v1beta1"])

    def _notified(self, status: Any, _context: Any) -> Any:
        self.error = status.error
        self.registered.set()
        return MESSAGES["Empty"]()

    def _list(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        healthy = [MESSAGES["Device"](ID=device, health="Healthy") for device in self.devices]
        yield MESSAGES["ListAndWatchResponse"](devices=healthy)
        while context.is_active() and not self._ended.wait(0.2):
            pass

    def _allocate(self, request: Any, _context: Any) -> Any:
        answers = []
        for container in request.container_requests:
            given = sorted(container.devices_ids)
            self.given.append(given)
            variable = MESSAGES["Variable"](key=VISIBLE, value=",".join(given))
            answers.append(MESSAGES["ContainerAllocateResponse"](envs=[variable]))
        return MESSAGES["AllocateResponse"](container_responses=answers)


def _served(kind: Any, function: Any, request: str) -> grpc.RpcMethodHandler:
    return kind(
        function,
        request_deserializer=MESSAGES[request].FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


@contextmanager
def device_plugin(kubelet_root: Path, resource: str, devices: Sequence[str]) -> Iterator[DevicePlugin]:
    """Such a plugin, registered while inside."""
    plugin = DevicePlugin(resource, devices)
    socket = kubelet_root / "plugins_registry" / f"{resource.rpartition('/')[2]}.sock"
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers(plugin.services())
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        assert plugin.registered.wait(60), f"no kubelet asked at {socket}"
        assert not plugin.error, plugin.error
        yield plugin
    finally:
        plugin.end()
        socket.unlink(missing_ok=True)
        server.stop(grace=5).wait()
