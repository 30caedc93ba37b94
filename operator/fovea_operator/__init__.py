"""Fovea's operator: level-triggered reconcilers behind Kopf's watches."""
