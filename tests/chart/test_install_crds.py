"""The installer's patience, with the API server's answers played: a definition takes a moment until its kind is served."""

import asyncio
from typing import Any

import pytest
from fovea_operator import install_crds
from fovea_operator.errors import Refused, Transient
from fovea_operator.install_crds import Installer, InstallFailed

NAME = "trainingjobs.fovea.dev"
ESTABLISHED = {"status": {"conditions": [{"type": "Established", "status": "True"}]}}


class PlayedServer:
    """Answers GETs one after the other; an exception is raised, the last answer stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def get(self, *_: Any) -> Any:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_crds, "_PAUSE_SECONDS", 0.01)


def wait_for(server: Any, seconds: float = 5) -> None:
    async def run() -> None:
        await Installer(server, seconds).established(NAME)

    asyncio.run(run())


def test_a_definition_of_a_moment_ago_is_waited_for() -> None:
    server = PlayedServer({}, {"status": {"conditions": None}}, Transient("busy"), ESTABLISHED)
    wait_for(server)
    assert server.asked == 4


def test_names_that_another_definition_has_are_not_waited_for() -> None:
    taken = {
        "status": {"conditions": [{"type": "NamesAccepted", "status": "False", "message": '"tj" is already in use'}]}
    }
    server = PlayedServer(taken)
    with pytest.raises(InstallFailed, match=r'trainingjobs\.fovea\.dev: "tj" is already in use: another CRD'):
        wait_for(server)
    assert server.asked == 1


def test_a_refusal_is_final_and_names_the_object() -> None:
    server = PlayedServer(Refused("forbidden", code=403))
    with pytest.raises(InstallFailed, match=r"CustomResourceDefinition trainingjobs\.fovea\.dev: forbidden"):
        wait_for(server)
    assert server.asked == 1


def test_patience_ends_with_what_was_seen_last() -> None:
    with pytest.raises(InstallFailed, match="is not established yet"):
        wait_for(PlayedServer({}), seconds=0.05)
