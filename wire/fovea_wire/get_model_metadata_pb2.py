"""Messages of get_model_metadata.proto. Written by dev/wire_code.py: do not edit."""

from google.protobuf import descriptor_pool, message_factory
from fovea_wire import model_pb2 as _model
from fovea_wire import tensor_pb2 as _tensor
from fovea_wire import types_pb2 as _types
from google.protobuf import any_pb2 as _any

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b'\n#fovea_wire/get_model_metadata.proto\x12\nfovea_wire\x1a\x16fovea_wire/model.proto\x1a\x17fovea_wire/tensor.proto\x1a\x16fovea_wire/types.proto\x1a\x19google/protobuf/any.proto"\x8d\x01\n\nTensorInfo\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12*\n\x05dtype\x18\x02 \x01(\x0e2\x14.fovea_wire.DataTypeR\x05dtype\x12?\n\x0ctensor_shape\x18\x03 \x01(\x0b2\x1c.fovea_wire.TensorShapeProtoR\x0btensorShape"\xef\x03\n\x0cSignatureDef\x12<\n\x06inputs\x18\x01 \x03(\x0b2$.fovea_wire.SignatureDef.InputsEntryR\x06inputs\x12?\n\x07outputs\x18\x02 \x03(\x0b2%.fovea_wire.SignatureDef.OutputsEntryR\x07outputs\x12\x1f\n\x0bmethod_name\x18\x03 \x01(\tR\nmethodName\x12B\n\x08defaults\x18\x04 \x03(\x0b2&.fovea_wire.SignatureDef.DefaultsEntryR\x08defaults\x1aQ\n\x0bInputsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12,\n\x05value\x18\x02 \x01(\x0b2\x16.fovea_wire.TensorInfoR\x05value:\x028\x01\x1aR\n\x0cOutputsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12,\n\x05value\x18\x02 \x01(\x0b2\x16.fovea_wire.TensorInfoR\x05value:\x028\x01\x1aT\n\rDefaultsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12-\n\x05value\x18\x02 \x01(\x0b2\x17.fovea_wire.TensorProtoR\x05value:\x028\x01"\xc0\x01\n\x0fSignatureDefMap\x12R\n\rsignature_def\x18\x01 \x03(\x0b2-.fovea_wire.SignatureDefMap.SignatureDefEntryR\x0csignatureDef\x1aY\n\x11SignatureDefEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12.\n\x05value\x18\x02 \x01(\x0b2\x18.fovea_wire.SignatureDefR\x05value:\x028\x01"v\n\x17GetModelMetadataRequest\x124\n\nmodel_spec\x18\x01 \x01(\x0b2\x15.fovea_wire.ModelSpecR\tmodelSpec\x12%\n\x0emetadata_field\x18\x02 \x03(\tR\rmetadataField"\xf3\x01\n\x18GetModelMetadataResponse\x124\n\nmodel_spec\x18\x01 \x01(\x0b2\x15.fovea_wire.ModelSpecR\tmodelSpec\x12N\n\x08metadata\x18\x02 \x03(\x0b22.fovea_wire.GetModelMetadataResponse.MetadataEntryR\x08metadata\x1aQ\n\rMetadataEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12*\n\x05value\x18\x02 \x01(\x0b2\x14.google.protobuf.AnyR\x05value:\x028\x01b\x06proto3'
)

TensorInfo = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["TensorInfo"])
SignatureDef = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["SignatureDef"])
SignatureDefMap = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["SignatureDefMap"])
GetModelMetadataRequest = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["GetModelMetadataRequest"])
GetModelMetadataResponse = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["GetModelMetadataResponse"])
