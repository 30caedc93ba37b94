"""The wire of TensorFlow Serving, both ports of it: requests, answers and error messages.

Without TensorFlow: numpy, protobuf and gRPC's status codes. What runs a model, holds a port or reads a file is `server/`.
Messages are read and filled by the names of their fields, so that it is all the same whether they are TensorFlow's (as in
the server, whose SavedModels bring them) or those of `fovea_wire`.
"""
