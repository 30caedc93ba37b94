"""Compares the answers of two versions to the same mirrored requests."""
