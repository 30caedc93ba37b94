"""The servers that can be measured, by the names that the command line has for them."""

from peers import bentoml, fovea, litserve, mlserver, rayserve

SERVERS = {
    "fovea": fovea.SERVER,
    "bentoml": bentoml.SERVER,
    "litserve": litserve.SERVER,
    "rayserve": rayserve.SERVER,
    "mlserver": mlserver.SERVER,
}
