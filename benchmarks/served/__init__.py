"""Parts of `model_server.py`: the model, the load, the server with its clocks, and the ceiling."""
