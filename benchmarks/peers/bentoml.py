"""BentoML as `bentoml serve` starts it: one worker, its APIs with adaptive batching."""

import json

from served.load import Call

from peers.asked import JPEG, PIXELS, PROGRAMS, Inputs, Way, form, post, scores_of_json
from peers.server import Place, Server


def _command(place: Place) -> list[str]:
    serve = [str(place.program / "bentoml"), "serve", "bentoml_service:Classifier", "--working-dir", str(PROGRAMS)]
    return [*serve, "--host", "127.0.0.1", "--port", str(place.ports[0])]


def _form(kind: str, api: str) -> Way:
    def call(place: Place, inputs: Inputs) -> Call:
        return form(f"http://127.0.0.1:{place.ports[0]}/{api}", "files", "picture", inputs.raw(kind))

    return Way(call, scores_of_json)


def _json(place: Place, inputs: Inputs) -> Call:
    body = json.dumps({"pixels": [inputs.pixels.tolist()]}).encode()
    return post(f"http://127.0.0.1:{place.ports[0]}/pixels", body, "application/json")


SERVER = Server(
    name="BentoML",
    says="adaptive batching, up to 32; one worker",
    command=_command,
    ways={
        JPEG: {"form": _form(JPEG, "jpeg")},
        PIXELS: {"form": _form(PIXELS, "raw"), "JSON": Way(_json, scores_of_json)},
    },
    peer="bentoml",
    package="bentoml",
    variables={"BENTOML_DO_NOT_TRACK": "True"},
)
