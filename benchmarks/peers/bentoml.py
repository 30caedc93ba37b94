"""BentoML as `bentoml serve` starts it: one worker, both APIs with adaptive batching."""

import json

from peers.asked import JPEG, PIXELS, PROGRAMS, Inputs, Way, form, post, scores_of_json
from peers.server import Place, Server


def _command(place: Place) -> list[str]:
    serve = [str(place.program / "bentoml"), "serve", "bentoml_service:Classifier", "--working-dir", str(PROGRAMS)]
    return [*serve, "--host", "127.0.0.1", "--port", str(place.ports[0])]


def _pixels(place: Place, inputs: Inputs):
    body = json.dumps({"pixels": [inputs.pixels.tolist()]}).encode()
    return post(f"http://127.0.0.1:{place.ports[0]}/pixels", body, "application/json")


SERVER = Server(
    name="BentoML",
    says="adaptive batching, up to 32; one worker; files in forms, arrays as JSON",
    command=_command,
    ways={
        JPEG: {
            "HTTP": Way(
                "a form",
                lambda place, inputs: form(
                    f"http://127.0.0.1:{place.ports[0]}/jpeg", "files", "picture.jpg", inputs.image
                ),
                scores_of_json,
            )
        },
        PIXELS: {"HTTP": Way("JSON", _pixels, scores_of_json)},
    },
    peer="bentoml",
    package="bentoml",
    variables={"BENTOML_DO_NOT_TRACK": "True"},
)
