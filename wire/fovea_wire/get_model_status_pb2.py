"""Messages of get_model_status.proto. Written by dev/wire_code.py: do not edit."""

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper
from fovea_wire import model_pb2 as _model

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b'\n!fovea_wire/get_model_status.proto\x12\nfovea_wire\x1a\x16fovea_wire/model.proto"c\n\x0bStatusProto\x12/\n\nerror_code\x18\x01 \x01(\x0e2\x10.fovea_wire.CodeR\terrorCode\x12#\n\rerror_message\x18\x02 \x01(\tR\x0cerrorMessage"M\n\x15GetModelStatusRequest\x124\n\nmodel_spec\x18\x01 \x01(\x0b2\x15.fovea_wire.ModelSpecR\tmodelSpec"\xf0\x01\n\x12ModelVersionStatus\x12\x18\n\x07version\x18\x01 \x01(\x03R\x07version\x12:\n\x05state\x18\x02 \x01(\x0e2$.fovea_wire.ModelVersionStatus.StateR\x05state\x12/\n\x06status\x18\x03 \x01(\x0b2\x17.fovea_wire.StatusProtoR\x06status"S\n\x05State\x12\x0b\n\x07UNKNOWN\x10\x00\x12\t\n\x05START\x10\n\x12\x0b\n\x07LOADING\x10\x14\x12\r\n\tAVAILABLE\x10\x1e\x12\r\n\tUNLOADING\x10(\x12\x07\n\x03END\x102"j\n\x16GetModelStatusResponse\x12P\n\x14model_version_status\x18\x01 \x03(\x0b2\x1e.fovea_wire.ModelVersionStatusR\x12modelVersionStatus*\xbd\x02\n\x04Code\x12\x06\n\x02OK\x10\x00\x12\r\n\tCANCELLED\x10\x01\x12\x11\n\rUNKNOWN_ERROR\x10\x02\x12\x14\n\x10INVALID_ARGUMENT\x10\x03\x12\x15\n\x11DEADLINE_EXCEEDED\x10\x04\x12\r\n\tNOT_FOUND\x10\x05\x12\x12\n\x0eALREADY_EXISTS\x10\x06\x12\x15\n\x11PERMISSION_DENIED\x10\x07\x12\x16\n\x12RESOURCE_EXHAUSTED\x10\x08\x12\x17\n\x13FAILED_PRECONDITION\x10\t\x12\x0b\n\x07ABORTED\x10\n\x12\x10\n\x0cOUT_OF_RANGE\x10\x0b\x12\x11\n\rUNIMPLEMENTED\x10\x0c\x12\x0c\n\x08INTERNAL\x10\r\x12\x0f\n\x0bUNAVAILABLE\x10\x0e\x12\r\n\tDATA_LOSS\x10\x0f\x12\x13\n\x0fUNAUTHENTICATED\x10\x10b\x06proto3'
)

StatusProto = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["StatusProto"])
GetModelStatusRequest = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["GetModelStatusRequest"])
ModelVersionStatus = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["ModelVersionStatus"])
GetModelStatusResponse = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["GetModelStatusResponse"])
Code = enum_type_wrapper.EnumTypeWrapper(DESCRIPTOR.enum_types_by_name["Code"])
OK = 0
CANCELLED = 1
UNKNOWN_ERROR = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16
