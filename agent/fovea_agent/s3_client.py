"""What the agent takes of the package `minio`. All other modules import it from here.

The package imports its admin client with everything else, and that its ciphers: a quarter of the time in which an agent
starts. Only `provision` needs it, and imports it itself.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def _left_out(name: str) -> Iterator[None]:
    """Let a module, of which nothing is used meanwhile, be imported as an empty one."""
    if name in sys.modules:
        yield
        return
    empty = ModuleType(name)
    empty.__getattr__ = lambda _: None  # type: ignore[method-assign]  # for `from minio.minioadmin import MinioAdmin`
    sys.modules[name] = empty
    try:
        yield
    finally:
        del sys.modules[name]


with _left_out("minio.minioadmin"):
    from minio import Minio
    from minio.credentials import Credentials
    from minio.deleteobjects import DeleteObject
    from minio.error import InvalidResponseError, MinioAdminException, MinioException, S3Error, ServerError
    from minio.helpers import check_bucket_name
    from minio.signer import sign_v4_s3

__all__ = [
    "Credentials",
    "DeleteObject",
    "InvalidResponseError",
    "Minio",
    "MinioAdminException",
    "MinioException",
    "S3Error",
    "ServerError",
    "check_bucket_name",
    "sign_v4_s3",
]
