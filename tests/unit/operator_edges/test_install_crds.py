"""What the installer of definitions tries again, and what is final."""

import asyncio
from typing import Any

import pytest
from fovea_operator import errors
from fovea_operator.install_crds import Installer, InstallFailed

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "trainingjobs.fovea.dev"},
}


def attempts(*answers: tuple[int, str]) -> int:
    """How often a definition is applied where the API server first answers these, each a code and a message."""
    left, sent = list(answers), []

    class Client:
        async def request(self, verb: str, *_: Any) -> dict[str, Any]:
            sent.append(verb)
            if left:
                raise errors.of_answer(left[0][0], "", left.pop(0)[1])
            return {}

    async def apply() -> None:
        installer = Installer(Client(), timeout_seconds=600)  # type: ignore[arg-type]
        await installer.apply(DEFINITION)

    asyncio.run(apply())
    return len(sent)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (503, "the server is currently unable to handle the request"),
        (404, "no such kind yet"),
        (500, 'Internal error occurred: failed calling webhook "policy": no endpoints available'),
        (500, 'admission webhook "policy" denied the request: its cache is not ready'),
    ],
)
def test_what_may_pass_is_tried_again(code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fovea_operator.install_crds._PAUSE_SECONDS", 0)
    assert attempts((code, said)) == 2


@pytest.mark.parametrize(
    ("code", "said"), [(403, "no rights"), (403, 'admission webhook "policy" denied the request: no'), (422, "invalid")]
)
def test_a_refusal_is_final(code: int, said: str) -> None:
    with pytest.raises(InstallFailed, match=r"CustomResourceDefinition trainingjobs\.fovea\.dev: "):
        attempts((code, said))
