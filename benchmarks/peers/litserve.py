"""LitServe with batching and its fast queue, which its documentation advises from 100 requests a second on."""

from served.load import Call

from peers.asked import JPEG, PIXELS, PROGRAMS, Inputs, Way, form, scores_of_json
from peers.server import Place, Server


def _command(place: Place) -> list[str]:
    return [str(place.python), str(PROGRAMS / "litserve_api.py"), str(place.ports[0])]


def _asked(kind: str) -> Way:
    def call(place: Place, inputs: Inputs) -> Call:
        return form(f"http://127.0.0.1:{place.ports[0]}/{kind}", "content", "picture", inputs.raw(kind))

    return Way(call, scores_of_json)


SERVER = Server(
    name="LitServe",
    says="batches of up to 32, 10 ms; fast queue; one worker for each input",
    command=_command,
    ways={kind: {"form": _asked(kind)} for kind in (JPEG, PIXELS)},
    peer="litserve",
    package="litserve",
)
