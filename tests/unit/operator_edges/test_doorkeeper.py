"""Whose reports of progress are let in, and how seldom the API server is asked about a token."""

import asyncio
import base64
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_operator.cluster.progress import Doorkeeper, Sender
from support.pod_tokens import NAME, token, verdict


@pytest.mark.parametrize(
    "refused",
    [
        verdict(authenticated=False),
        verdict(audiences=["another"]),
        verdict(audiences=[]),
        verdict(user={"username": "kubernetes-admin"}),
        verdict(user={"username": "system:serviceaccount:team:default", "extra": {}}),
        {},
    ],
)
def test_only_a_token_bound_to_a_pod_for_our_audience_is_let_in(refused: dict[str, Any]) -> None:
    async def review(_token: str, _audience: str) -> dict[str, Any]:
        return refused

    assert asyncio.run(Doorkeeper(review).sender(token(), 0)) is None


@pytest.mark.parametrize(
    ("claims", "seconds"),
    [({"exp": 1_000_000 + 3_600}, 3_600), ({}, 300), ({"exp": "soon"}, 300), ({"exp": 10**400}, 300)],
)
def test_a_good_verdict_holds_until_the_token_ends(claims: dict[str, Any], seconds: float) -> None:
    asked: list[str] = []

    async def review(token: str, audience: str) -> dict[str, Any]:
        asked.append(token)
        return verdict()

    async def run() -> None:
        door = Doorkeeper(review, wall_clock=lambda: 1_000_000)
        await door.sender(token(**claims), 0)
        await door.sender(token(**claims), seconds - 1)
        assert len(asked) == 1
        await door.sender(token(**claims), seconds + 1)

    asyncio.run(run())
    assert len(asked) == 2


def test_a_verdict_is_asked_for_once_and_again_when_it_is_old() -> None:
    asked: list[str] = []

    async def review(token: str, audience: str) -> dict[str, Any]:
        asked.append(audience)
        return verdict()

    async def run() -> None:
        door = Doorkeeper(review)
        for now in (0, 299, 301):
            assert await door.sender(token(), now) == Sender("team", "digits-chief-0-0", "p1")

    asyncio.run(run())
    assert asked == [names.REPORT_TOKEN_AUDIENCE] * 2


class Reviewer:
    """Says yes to the tokens of GOOD, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def review(self, token: str, _audience: str) -> dict[str, Any]:
        self.asked.append(token)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return verdict() if token in GOOD else {}


GOOD = {token(number=number) for number in range(10)}


@pytest.mark.parametrize(
    "stranger",
    [
        "nonsense",
        "a.b.c",
        "a.é.c",
        "a.\udcff.c",
        "..",
        token("somebody-else"),
        token(["https://kubernetes.default.svc"]),
        token(None),
        f"a.{base64.urlsafe_b64encode(b'[1]').decode()}.c",
        f"a.{base64.urlsafe_b64encode(b'[' * 5000).decode()}.c",
    ],
)
def test_a_token_that_is_not_for_us_by_its_own_words_costs_no_review(stranger: str) -> None:
    reviewer = Reviewer()
    assert asyncio.run(Doorkeeper(reviewer.review).sender(stranger, 0)) is None
    assert reviewer.asked == []


@pytest.mark.parametrize("audiences", [names.REPORT_TOKEN_AUDIENCE, [names.REPORT_TOKEN_AUDIENCE, "other"]])
def test_a_token_names_its_audiences_as_one_or_as_many(audiences: Any) -> None:
    async def review(_token: str, _audience: str) -> dict[str, Any]:
        return verdict()

    assert asyncio.run(Doorkeeper(review).sender(token(audiences), 0)) == Sender("team", NAME, "p1")


def test_a_flood_of_made_up_tokens_is_reviewed_a_few_at_a_time_and_drives_no_pod_out() -> None:
    reviewer = Reviewer()

    async def run() -> None:
        door = Doorkeeper(reviewer.review)
        for good in GOOD:
            assert await door.sender(good, 0) is not None
        flood = [door.sender(token(number=number), 1) for number in range(100, 25_100)]
        assert set(await asyncio.gather(*flood)) == {None}
        assert reviewer.most_at_once <= 8
        reviewer.asked.clear()
        for good in GOOD:
            assert await door.sender(good, 2) is not None
        assert reviewer.asked == []
        assert len(door._refusals) <= 2_000

    asyncio.run(run())


def test_one_token_that_comes_many_times_at_once_is_not_reviewed_as_often() -> None:
    reviewer = Reviewer()

    async def run(token: str) -> None:
        reviewer.asked.clear()
        door = Doorkeeper(reviewer.review)
        answers = await asyncio.gather(*(door.sender(token, 0) for _ in range(50)))
        assert len(set(answers)) == 1
        assert 1 <= len(reviewer.asked) <= 8

    asyncio.run(run(token(number=1)))
    asyncio.run(run(token(number=100)))


def test_a_refused_token_is_asked_for_again_after_a_short_while() -> None:
    said = iter([{}, verdict()])

    async def review(_token: str, _audience: str) -> dict[str, Any]:
        return next(said)

    async def run() -> list[Sender | None]:
        door = Doorkeeper(review)
        return [await door.sender(token(), now) for now in (0, 9, 11, 200)]

    pod = Sender("team", NAME, "p1")
    assert asyncio.run(run()) == [None, None, pod, pod]
