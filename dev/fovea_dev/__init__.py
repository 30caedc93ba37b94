"""Fovea's local cluster: a real one-node Kubernetes on one machine, its images, its teardown (no dependencies)."""
