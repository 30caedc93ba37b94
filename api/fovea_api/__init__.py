"""Fovea's API types (`v1alpha1`) and the contracts between its parts (`contract`)."""
