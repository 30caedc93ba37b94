"""Messages of tensor.proto. Written by dev/wire_code.py: do not edit."""

from google.protobuf import descriptor_pool, message_factory
from fovea_wire import types_pb2 as _types

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b'\n\x17fovea_wire/tensor.proto\x12\nfovea_wire\x1a\x16fovea_wire/types.proto"\x98\x01\n\x10TensorShapeProto\x122\n\x03dim\x18\x02 \x03(\x0b2 .fovea_wire.TensorShapeProto.DimR\x03dim\x12!\n\x0cunknown_rank\x18\x03 \x01(\x08R\x0bunknownRank\x1a-\n\x03Dim\x12\x12\n\x04size\x18\x01 \x01(\x03R\x04size\x12\x12\n\x04name\x18\x02 \x01(\tR\x04name"\xb2\x04\n\x0bTensorProto\x12*\n\x05dtype\x18\x01 \x01(\x0e2\x14.fovea_wire.DataTypeR\x05dtype\x12?\n\x0ctensor_shape\x18\x02 \x01(\x0b2\x1c.fovea_wire.TensorShapeProtoR\x0btensorShape\x12%\n\x0eversion_number\x18\x03 \x01(\x05R\rversionNumber\x12%\n\x0etensor_content\x18\x04 \x01(\x0cR\rtensorContent\x12\x1b\n\tfloat_val\x18\x05 \x03(\x02R\x08floatVal\x12\x1d\n\ndouble_val\x18\x06 \x03(\x01R\tdoubleVal\x12\x17\n\x07int_val\x18\x07 \x03(\x05R\x06intVal\x12\x1d\n\nstring_val\x18\x08 \x03(\x0cR\tstringVal\x12!\n\x0cscomplex_val\x18\t \x03(\x02R\x0bscomplexVal\x12\x1b\n\tint64_val\x18\n \x03(\x03R\x08int64Val\x12\x19\n\x08bool_val\x18\x0b \x03(\x08R\x07boolVal\x12!\n\x0cdcomplex_val\x18\x0c \x03(\x01R\x0bdcomplexVal\x12\x19\n\x08half_val\x18\r \x03(\x05R\x07halfVal\x12\x1d\n\nuint32_val\x18\x10 \x03(\rR\tuint32Val\x12\x1d\n\nuint64_val\x18\x11 \x03(\x04R\tuint64Val\x12\x1d\n\nfloat8_val\x18\x12 \x01(\x0cR\tfloat8Valb\x06proto3'
)

TensorShapeProto = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["TensorShapeProto"])
TensorProto = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["TensorProto"])
