"""What an agent loads before a program may start: each module is time that every job waits."""

import subprocess
import sys

import pytest

ADMIN = ("minio.minioadmin", "minio.crypto", "Crypto", "cffi", "pycparser")


def loaded_after(statement: str) -> set[str]:
    """Names of the modules that a Python of its own has loaded then."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["fetch", "sync", "fetch_model", "batch", "check_store"])
def test_what_moves_files_does_not_load_the_stores_admin_client(module: str) -> None:
    loaded = loaded_after(f"import fovea_agent.{module}")
    assert "minio.api" in loaded
    assert loaded.isdisjoint(ADMIN)


def test_what_makes_keys_has_the_real_admin_client() -> None:
    check = "import fovea_agent.sync\nfrom fovea_agent.provision import MinioAdmin\nassert MinioAdmin.user_add"
    assert "minio.crypto" in loaded_after(check)


def test_a_sidecar_that_fetches_loads_what_publishes_only_when_the_program_may_start() -> None:
    assert "fovea_agent.sync" not in loaded_after("import fovea_agent.main, fovea_agent.report, fovea_agent.fetch")
