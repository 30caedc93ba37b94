"""Messages of model.proto. Written by dev/wire_code.py: do not edit."""

from google.protobuf import descriptor_pool, message_factory
from google.protobuf import wrappers_pb2 as _wrappers

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b'\n\x16fovea_wire/model.proto\x12\nfovea_wire\x1a\x1egoogle/protobuf/wrappers.proto"\xb8\x01\n\tModelSpec\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x127\n\x07version\x18\x02 \x01(\x0b2\x1b.google.protobuf.Int64ValueH\x00R\x07version\x12%\n\rversion_label\x18\x04 \x01(\tH\x00R\x0cversionLabel\x12%\n\x0esignature_name\x18\x03 \x01(\tR\rsignatureNameB\x10\n\x0eversion_choiceb\x06proto3'
)

ModelSpec = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["ModelSpec"])
