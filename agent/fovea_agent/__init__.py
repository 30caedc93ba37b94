"""Fovea's agent: moves what a pod needs and makes between its working volume and the object store."""
