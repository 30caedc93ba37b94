"""Resources of a container as amounts of a MachineType."""

import re
from decimal import Decimal
from fractions import Fraction

from .draft import MACHINE, Draft
from .source import Field

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_FACTORS = {"m": Fraction(1, 1000), "": Fraction(1)}
_FACTORS |= {unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", start=1)}
_FACTORS |= {f"{unit}i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", start=1)}
MAX_GPUS = 64
_NAMES = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeralStorage"}
_OTHER = "A MachineType has no amount of it."
_ONE_KIND = "A MachineType has one kind of accelerator."
_ASK = "Ask the platform team whether its machine types offer it."


def quantity(field: Field) -> str:
    """A Kubernetes quantity as Fovea writes it: without sign and exponent."""
    text = str(field.value)
    if isinstance(field.value, bool) or not isinstance(field.value, str | int | float):
        raise field.error(f"is {field.value!r}, a quantity is expected, for example 500m or 4Gi: correct the file")
    if isinstance(field.value, float) or re.fullmatch(r"[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]{1,2}", text):
        text = format(Decimal(text).normalize(), "f")
    if not _QUANTITY.fullmatch(text):
        raise field.error(f"is {field.value!r}, a quantity is expected, for example 500m or 4Gi: correct the file")
    return text


def amount(text: str) -> Fraction:
    """What a quantity is worth."""
    found = _QUANTITY.fullmatch(text)
    assert found  # noqa: S101 - `quantity` made it
    return Fraction(found[1]) * _FACTORS[found[2] or ""]


def take_resources(field: Field, draft: Draft) -> None:
    """Requests and limits of the program's container, as fields of the MachineType of its role."""
    found = {part: dict(inner.items()) for part in ("requests", "limits") if (inner := field.get(part))}
    requests, limits = found.get("requests", {}), found.get("limits", {})
    _take_cpu(requests.get("cpu"), limits.get("cpu"), draft)
    for name in ("memory", "ephemeral-storage"):
        _take_equal(name, requests.get(name), limits.get(name), draft)
    others = {name: one for name, one in (requests | limits).items() if name not in _NAMES}
    devices = sorted((name for name in others if _is_device(name)), key=lambda name: "gpu" not in name)
    for name, one in others.items():
        if devices and name == devices[0]:
            _take_gpus(name, one, requests.get(name) if name in limits else None, draft)
        else:
            for twin in (requests.get(name), limits.get(name)):
                if twin:
                    draft.drop(twin, _ONE_KIND if devices and _is_device(name) else _OTHER, _ASK)


def _is_device(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


def _take_cpu(request: Field | None, limit: Field | None, draft: Draft) -> None:
    if request:
        draft.take(request, MACHINE, "cpu", value=quantity(request))
    elif limit:
        # As Kubernetes has it: what has a limit only, requests as much.
        draft.values[MACHINE, "cpu"] = quantity(limit)
    if limit:
        draft.take(limit, MACHINE, "cpuLimit", value=quantity(limit))


def _take_equal(name: str, request: Field | None, limit: Field | None, draft: Draft) -> None:
    """An amount that a MachineType requests and limits alike: the limit, so that the program has what it could have before."""
    key = (MACHINE, _NAMES[name])
    if limit:
        draft.take(limit, *key, value=quantity(limit))
    if request and limit:
        same = amount(quantity(request)) == amount(quantity(limit))
        why = "" if same else f"A MachineType requests as much {name} as it allows: the limit, {quantity(limit)}."
        value = request.value if same else quantity(limit)
        draft.take(request, *key, value=value, why=why)
        draft.values[key] = quantity(limit)
    elif request:
        why = f"A MachineType allows as much {name} as it requests; the source has no limit."
        draft.take(request, *key, value=quantity(request), why=why)


def _take_gpus(name: str, field: Field, request: Field | None, draft: Draft) -> None:
    if request:
        draft.keep(request, "Accelerators are requested and limited alike.")
    count = amount(quantity(field))
    if not count:
        draft.keep(field, "A MachineType without gpus has none.")
        return
    if count.denominator != 1 or count > MAX_GPUS:
        raise field.error(f"is {field.value!r}, a pod has 1 to {MAX_GPUS} accelerators: correct the number")
    draft.take(field, MACHINE, "gpus", "count", value=int(count))
    if name != "nvidia.com/gpu":
        draft.values[MACHINE, "gpus", "resource"] = name
