"""Parts of `model_server.py --peers`: other model servers, how each is installed, started and asked, and the turns.

A file for each server says how it is started and asked. What runs in a peer's own environment lies in `programs/`.
"""
