"""What the contract tests share: one MinIO and one model server for the run."""

from support.model_server import saved_model, saved_model_2, tiny_client, tiny_server
from support.object_store import object_store

__all__ = ["object_store", "saved_model", "saved_model_2", "tiny_client", "tiny_server"]
