"""The API client against a small HTTP server: errors, rotated tokens, counted calls, pages."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from fovea_operator import errors
from fovea_operator.cluster import resources
from fovea_operator.cluster.client import ApiClient
from fovea_operator.cluster.credentials import Credentials, NoCredentials
from fovea_operator.cluster.keys import Ref
from fovea_operator.reconcile.shared.decision import Deletion

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "team"}}


def serve(handler: Handler, use: Callable[[ApiClient], Awaitable[Any]], tokens: list[str] | None = None) -> Any:
    """Run a server with one handler for every path, and a client whose token is the next of `tokens` at each reading."""
    left = list(tokens or [])
    counted: list[tuple[str, str, int]] = []

    async def run() -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]

        def load() -> Credentials:
            return Credentials(f"http://127.0.0.1:{port}", token=left.pop(0) if left else "")

        client = ApiClient(load, count=lambda *call: counted.append(call))
        try:
            return await use(client)
        finally:
            await client.close()
            await runner.cleanup()

    try:
        return asyncio.run(run()), counted
    except errors.ApiError as error:
        return error, counted


def status(code: int, reason: str, message: str, **headers: str) -> web.Response:
    return web.json_response({"kind": "Status", "reason": reason, "message": message}, status=code, headers=headers)


def test_a_refusal_carries_the_servers_own_words_and_the_call() -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(403, "Forbidden", "exceeded quota: none")

    error, counted = serve(handler, lambda client: client.create(POD))
    assert type(error) is errors.Refused
    assert str(error) == "exceeded quota: none (POST /api/v1/namespaces/team/pods: 403)"
    assert counted == [("create", "pods", 403)]


def test_a_server_that_asks_to_wait_is_heard() -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(429, "TooManyRequests", "slow down", **{"Retry-After": "7"})

    error, _ = serve(handler, lambda client: client.create(POD))
    assert type(error) is errors.Transient
    assert error.retry_after == 7


@pytest.mark.parametrize("text", ["<html>sign in</html>", "\ufffd", '"ok"', ""])
def test_a_success_that_is_no_json_object_may_work_the_next_time(text: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=200, text=text)

    error, counted = serve(handler, lambda client: client.create(POD))
    assert type(error) is errors.Transient
    assert "POST /api/v1/namespaces/team/pods: 200, but no JSON object" in str(error)
    assert counted == [("create", "pods", 200)]


@pytest.mark.parametrize("text", ["default backend - 404", "404 page not found\n", "{}", ""])
def test_a_404_that_no_api_server_explains_says_nothing_of_an_object(text: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=404, text=text)

    item = Deletion(resources.POD.gvk, "team", "a", "u1", None)
    for use in (lambda client: client.delete(item), lambda client: client.get(resources.POD, "team", "a")):
        error, _ = serve(handler, use)
        assert type(error) is errors.Transient
    found, _ = serve(handler, lambda client: client.is_served(resources.TRAINING_JOB))
    assert found is False, "a group that is not there is not explained"


def test_an_object_that_is_not_there_is_gone() -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(404, "NotFound", 'pods "a" not found')

    error, _ = serve(handler, lambda client: client.get(resources.POD, "team", "a"))
    assert type(error) is errors.Gone


def test_an_object_that_etcd_finds_too_large_is_refused_and_not_tried_again_as_it_is() -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(500, "InternalError", "etcdserver: request is too large")

    error, _ = serve(handler, lambda client: client.create(POD))
    assert type(error) is errors.Refused
    assert error.code == 413


def test_an_object_that_cannot_be_written_as_json_is_refused_before_it_is_sent() -> None:
    async def handler(_: web.Request) -> web.Response:
        raise AssertionError

    error, counted = serve(handler, lambda client: client.create({**POD, "loss": float("nan")}))
    assert type(error) is errors.Refused
    assert error.code == 400
    assert counted == []


def test_an_answer_that_is_no_json_is_an_error_like_any_other() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>bad gateway</html>")

    error, _ = serve(handler, lambda client: client.create(POD))
    assert type(error) is errors.Transient
    assert "bad gateway" in str(error)


def test_no_answer_at_all_is_transient() -> None:
    async def run() -> None:
        client = ApiClient(lambda: Credentials("http://127.0.0.1:1"))
        try:
            await client.create(POD)
        finally:
            await client.close()

    with pytest.raises(errors.Transient, match="POST /api/v1/namespaces/team/pods"):
        asyncio.run(run())


async def answer_pods(_: web.Request) -> web.Response:
    return web.json_response(POD)


def test_a_session_that_is_being_closed_is_handed_to_nobody_and_the_next_one_stays() -> None:
    async def use(client: ApiClient) -> Any:
        await client.create(POD)
        session = client._session
        assert session is not None
        close, closed, go_on = session.close, asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            await close()
            closed.set()
            await go_on.wait()

        session.close = slowly  # type: ignore[method-assign]
        closing = asyncio.create_task(client.close())
        await closed.wait()
        try:
            answer = await client.create(POD)
            opened = client._session
        finally:
            go_on.set()
            await closing
        assert client._session is opened
        assert opened is not session
        return answer

    answer, _ = serve(answer_pods, use)
    assert answer == POD


def test_a_401_leaves_the_calls_of_others_alone() -> None:
    slow = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            await slow.wait()
        elif request.headers["Authorization"] == "Bearer old":
            return status(401, "Unauthorized", "who are you")
        return web.json_response(POD)

    async def use(client: ApiClient) -> Any:
        other = asyncio.create_task(client.get(resources.POD, "team", "a"))
        await asyncio.sleep(0)
        try:
            answer = await client.create(POD)
        finally:
            slow.set()
        assert await other == POD
        return answer

    answer, counted = serve(handler, use, ["old", "new"])
    assert answer == POD
    assert sorted(counted) == [("create", "pods", 200), ("create", "pods", 401), ("get", "pods", 200)]


@pytest.mark.parametrize("error", [FileNotFoundError("token"), NoCredentials("no context"), ValueError("not base64")])
def test_credentials_that_cannot_be_read_anew_are_waited_for(error: Exception) -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(401, "Unauthorized", "who are you")

    async def use(client: ApiClient) -> Any:
        load, readings = client._load, iter([None, error, error])

        def unreadable() -> Credentials:
            if (problem := next(readings)) is not None:
                raise problem
            return load()

        client._load = unreadable
        with pytest.raises(errors.Transient, match="cannot be read again"):
            await client.create(POD)
        await client.create(POD)

    again, _ = serve(handler, use)
    assert type(again) is errors.Transient


def test_credentials_that_were_never_there_are_not_waited_for() -> None:
    def load() -> Credentials:
        raise FileNotFoundError("/somewhere/token")

    with pytest.raises(NoCredentials, match="/somewhere/token"):
        asyncio.run(ApiClient(load).create(POD))


def test_a_rotated_token_is_read_anew_on_a_401() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response(POD) if seen[-1] == "Bearer new" else status(401, "Unauthorized", "who are you")

    answer, counted = serve(handler, lambda client: client.create(POD), ["old", "new"])
    assert answer == POD
    assert seen == ["Bearer old", "Bearer new"]
    assert [code for _, _, code in counted] == [401, 200]


def test_a_deletion_has_the_uid_as_its_precondition_and_its_grace() -> None:
    bodies: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.json_response(POD)

    serve(handler, lambda client: client.delete(Deletion(resources.POD.gvk, "team", "a", "u1", 30)))
    assert bodies[0]["preconditions"] == {"uid": "u1"}
    assert bodies[0]["gracePeriodSeconds"] == 30
    assert bodies[0]["propagationPolicy"] == "Background"


def test_apply_is_server_side_with_force_and_our_field_manager() -> None:
    seen: list[tuple[str, str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, request.headers["Content-Type"]))
        return web.json_response(POD)

    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "team"}}
    serve(handler, lambda client: client.apply(service))
    assert seen == [
        (
            "PATCH",
            "/api/v1/namespaces/team/services/a?fieldManager=fovea-operator&force=true",
            "application/apply-patch+yaml",
        )
    ]


def test_a_status_is_patched_on_exactly_the_version_that_is_known() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, request.headers["Content-Type"], await request.json()))
        return web.json_response(POD)

    job = Ref(resources.TRAINING_JOB.gvk, "team", "a")
    serve(handler, lambda client: client.merge_status(job, 7, {"message": None}))
    assert seen == [
        (
            "PATCH",
            "/apis/fovea.dev/v1alpha1/namespaces/team/trainingjobs/a/status?fieldManager=fovea-operator",
            "application/merge-patch+json",
            {"metadata": {"resourceVersion": "7"}, "status": {"message": None}},
        )
    ]


def test_a_long_list_comes_in_pages_with_the_selector_in_each_call() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        more = "continue" not in request.query
        metadata = {"resourceVersion": "12", **({"continue": "next/page"} if more else {})}
        return web.json_response({"metadata": metadata, "items": [{"n": len(asked)}]})

    async def use(client: ApiClient) -> list[Any]:
        return [page async for page in client.pages(resources.POD, "", "a=b")]

    pages, _ = serve(handler, use)
    assert pages == [([{"n": 1}], 12), ([{"n": 2}], 12)]
    assert asked == [
        "/api/v1/pods?limit=500&labelSelector=a%3Db",
        "/api/v1/pods?limit=500&labelSelector=a%3Db&continue=next/page",
    ]


def test_a_list_of_metadata_that_is_empty_is_null_to_the_api_server() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"resourceVersion": "12"}, "items": None})

    async def use(client: ApiClient) -> list[Any]:
        return [page async for page in client.pages(resources.POD, only_metadata=True)]

    assert serve(handler, use)[0] == [([], 12)]


@pytest.mark.parametrize(
    ("groups", "plurals", "served"),
    [
        (["apps/v1", "fovea.dev/v1alpha1"], ["trainingjobs/status", "trainingjobs"], True),
        (["apps/v1", "fovea.dev/v1alpha1"], ["modelversions"], False),
        (["apps/v1", "fovea.dev/v1"], ["trainingjobs"], False),
        (["fovea.dev/v1alpha1"], None, False),
    ],
)
def test_a_kind_is_served_once_its_definition_is_established_and_its_group_is_listed(
    groups: list[str], plurals: list[str] | None, served: bool
) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/apis":
            return web.json_response({"groups": [{"versions": [{"groupVersion": each}]} for each in groups]})
        assert request.path == "/apis/fovea.dev/v1alpha1"
        if plurals is None:
            return status(404, "NotFound", "the server could not find the requested resource")
        return web.json_response({"resources": [{"name": plural} for plural in plurals]})

    answer, _ = serve(handler, lambda client: client.is_served(resources.TRAINING_JOB))
    assert answer is served


def test_a_kind_without_a_group_is_served_once_the_core_api_has_it() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.path == "/api/v1"
        return web.json_response({"resources": [{"name": "nodes"}, {"name": "pods"}]})

    answer, _ = serve(handler, lambda client: client.is_served(resources.NODE))
    assert answer is True


def test_metadata_and_single_objects_are_asked_for_in_kubernetes_own_way() -> None:
    asked: list[tuple[str, str | None, str]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.path_qs, request.query.get("fieldSelector"), request.headers["Accept"]))
        return web.json_response({"items": [], "metadata": {"resourceVersion": "5"}})

    async def use(client: Any) -> list[Any]:
        pages = [page async for page in client.pages(resources.TRAINING_JOB, "team", only_metadata=True)]
        pages += [page async for page in client.pages(resources.TRAINING_JOB, "team", name="a")]
        pages += [page async for page in client.pages(resources.NODE)]
        return pages + [page async for page in client.pages(resources.NODE, name="a")]

    pages, _ = serve(handler, use)
    assert pages == [([], 5)] * 4
    assert [accept for _, _, accept in asked] == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "application/json",
        "application/json",
        "application/json",
    ]
    assert [selector for _, selector, _ in asked] == [
        None,
        "metadata.name=a",
        "spec.unschedulable=true",
        "spec.unschedulable=true,metadata.name=a",
    ]
