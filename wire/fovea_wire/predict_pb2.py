"""Messages of predict.proto. Written by dev/wire_code.py: do not edit."""

from google.protobuf import descriptor_pool, message_factory
from fovea_wire import model_pb2 as _model
from fovea_wire import tensor_pb2 as _tensor

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b'\n\x18fovea_wire/predict.proto\x12\nfovea_wire\x1a\x16fovea_wire/model.proto\x1a\x17fovea_wire/tensor.proto"\xff\x01\n\x0ePredictRequest\x124\n\nmodel_spec\x18\x01 \x01(\x0b2\x15.fovea_wire.ModelSpecR\tmodelSpec\x12>\n\x06inputs\x18\x02 \x03(\x0b2&.fovea_wire.PredictRequest.InputsEntryR\x06inputs\x12#\n\routput_filter\x18\x03 \x03(\tR\x0coutputFilter\x1aR\n\x0bInputsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12-\n\x05value\x18\x02 \x01(\x0b2\x17.fovea_wire.TensorProtoR\x05value:\x028\x01"\xe0\x01\n\x0fPredictResponse\x12B\n\x07outputs\x18\x01 \x03(\x0b2(.fovea_wire.PredictResponse.OutputsEntryR\x07outputs\x124\n\nmodel_spec\x18\x02 \x01(\x0b2\x15.fovea_wire.ModelSpecR\tmodelSpec\x1aS\n\x0cOutputsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12-\n\x05value\x18\x02 \x01(\x0b2\x17.fovea_wire.TensorProtoR\x05value:\x028\x01b\x06proto3'
)

PredictRequest = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["PredictRequest"])
PredictResponse = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["PredictResponse"])
