"""Ray Serve with one replica and `serve.batch`, on a Ray of its own."""

from served.load import Call

from peers.asked import JPEG, PIXELS, PROGRAMS, Inputs, Way, post, scores_of_json
from peers.server import Place, Server


def _command(place: Place) -> list[str]:
    return [str(place.python), str(PROGRAMS / "rayserve_app.py"), str(place.ports[0])]


def _asked(kind: str) -> Way:
    def call(place: Place, inputs: Inputs) -> Call:
        return post(f"http://127.0.0.1:{place.ports[0]}/{kind}", inputs.raw(kind), "application/octet-stream")

    return Way(call, scores_of_json)


SERVER = Server(
    name="Ray Serve",
    says="batches of up to 32, 10 ms; one replica",
    command=_command,
    ways={kind: {"bytes": _asked(kind)} for kind in (JPEG, PIXELS)},
    peer="rayserve",
    package="ray",
    variables={"RAY_USAGE_STATS_ENABLED": "0"},
)
