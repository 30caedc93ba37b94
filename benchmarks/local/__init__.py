"""What local_platform.py measures on the cluster of `make up`, a file for each part."""
