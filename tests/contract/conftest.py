"""What the contract tests share: one MinIO and one model server for the run, and a training pod for each test."""

from support.batch_pod import batch_pod
from support.model_server import saved_model, saved_model_2, tiny_client, tiny_server
from support.object_store import object_store
from support.training_pod import pod

__all__ = ["batch_pod", "object_store", "pod", "saved_model", "saved_model_2", "tiny_client", "tiny_server"]
