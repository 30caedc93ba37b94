"""Fovea's local cluster: a real one-node Kubernetes on one machine, its images and its teardown (standard library only)."""
