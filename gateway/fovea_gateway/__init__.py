"""What stands beside the gateway: no TensorFlow and no NumPy, so that it fits the small image."""
