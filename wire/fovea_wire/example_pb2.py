"""Messages of example.proto. Written by dev/wire_code.py: do not edit."""

from google.protobuf import descriptor_pool, message_factory

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b'\n\x18fovea_wire/example.proto\x12\nfovea_wire"!\n\tBytesList\x12\x14\n\x05value\x18\x01 \x03(\x0cR\x05value"%\n\tFloatList\x12\x18\n\x05value\x18\x01 \x03(\x02B\x02\x10\x01R\x05value"%\n\tInt64List\x12\x18\n\x05value\x18\x01 \x03(\x03B\x02\x10\x01R\x05value"\xb9\x01\n\x07Feature\x126\n\nbytes_list\x18\x01 \x01(\x0b2\x15.fovea_wire.BytesListH\x00R\tbytesList\x126\n\nfloat_list\x18\x02 \x01(\x0b2\x15.fovea_wire.FloatListH\x00R\tfloatList\x126\n\nint64_list\x18\x03 \x01(\x0b2\x15.fovea_wire.Int64ListH\x00R\tint64ListB\x06\n\x04kind"\x98\x01\n\x08Features\x12;\n\x07feature\x18\x01 \x03(\x0b2!.fovea_wire.Features.FeatureEntryR\x07feature\x1aO\n\x0cFeatureEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12)\n\x05value\x18\x02 \x01(\x0b2\x13.fovea_wire.FeatureR\x05value:\x028\x01";\n\x07Example\x120\n\x08features\x18\x01 \x01(\x0b2\x14.fovea_wire.FeaturesR\x08featuresb\x06proto3'
)

BytesList = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["BytesList"])
FloatList = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["FloatList"])
Int64List = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["Int64List"])
Feature = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["Feature"])
Features = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["Features"])
Example = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["Example"])
