"""TensorFlow Serving's wire format without TensorFlow: own messages under the name fovea.wire, equal on the wire."""
