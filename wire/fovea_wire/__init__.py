"""TensorFlow Serving's wire format without TensorFlow: own messages under the name fovea_wire, equal on the wire."""
