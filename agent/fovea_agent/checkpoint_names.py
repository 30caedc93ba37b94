"""What a name in the checkpoint folder tells: of which step it is, and what its number counts.

Only words that are known to go before a step are taken (ADR 113): any other number may be that of a process, a fold or a
size, and would be taken for the newest checkpoint.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_MOST_DIGITS = 15
"""Of a step: as many as a JSON number holds exactly."""

_PIECE = re.compile(
    r"(?:[-_.]data)?-[0-9]+-of-[0-9]+(?=$|\.)"
    r"|(?:^|[-_.])(?:rank|shard|worker|part|process|proc|gpu|device|node|host|chunk)[-_=.]?[0-9]+(?=$|[-_.])",
    re.IGNORECASE,
)
"""`ckpt-7.data-00000-of-00002`, `step_500_rank_0.pt`: which piece of a checkpoint, not which step."""
_RUN = re.compile(r"(?:^|[^A-Za-z])(?:fold|seed|trial|run|version|split|cv|member)[-_=.]?[0-9]", re.IGNORECASE)
"""`fold_1_step_500.pt`: one of several trainings, whose steps say nothing of each other."""
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9_]*$")
_TEXT = re.compile(
    r"\.(?:txt|text|csv|tsv|jsonl?|ya?ml|toml|ini|log|md|html?|xml|pdf|png|jpe?g|svg|py|sh)$", re.IGNORECASE
)
_BY_WORD = re.compile(
    r"(?:^|[^A-Za-z])(?:global|train)?[-_]?(?:steps?|iter|iters|iteration|update)[-_=.]?([0-9]+)", re.IGNORECASE
)
"""`model_step_200`, `epoch=3-step=1000`, `global_step100`, `iter_0000500`."""
_BY_END = re.compile(
    r"(?:^|(?:^|[-_=.])(ckpt|checkpoint|chkpt|epoch|model|weights|params|snapshot)[-_=.]?)([0-9]+)$", re.IGNORECASE
)
"""`500`, `000100`, `checkpoint-500`, `ckpt-7`, `epoch10`: the only number, and at the end."""
_BESIDE = re.compile(
    r"(?:^|[-_=.])(?:optimizer|optim|opt|scheduler|state|states|trainer|ema|scaler|rng|metrics|config|meta)[-_=.]?([0-9]+)$",
    re.IGNORECASE,
)
"""`optimizer_500.pt`: belongs to a checkpoint, and is none without it."""
_SAME = {"chkpt": "checkpoint", "ckpt": "checkpoint", "weights": "model", "params": "model"}


@dataclass(frozen=True)
class Told:
    """`counts`: what the number counts (`step`, `epoch`, …; empty: nothing says it).

    `makes`: whether it is a checkpoint by itself; else it belongs to one of the same step, if there is one.
    """

    step: int
    counts: str = ""
    makes: bool = True


def read_name(name: str) -> Told | None:
    """What the name of a file or folder says; None when it gives no step."""
    if "tfevents" in name:  # TensorBoard's, named by the time
        return None
    stem, makes = name, not _TEXT.search(name)
    while (shorter := _PIECE.sub("", _ENDING.sub("", stem))) != stem:
        stem = shorter
    found = None if _RUN.search(stem) else _number(stem)
    if found is None or len(found[0]) > _MOST_DIGITS:
        return None
    digits, counts = found
    return Told(int(digits), counts, makes=makes and counts != "beside")


def _number(stem: str) -> tuple[str, str] | None:
    if words := _BY_WORD.findall(stem):
        return words[-1], "step"
    if len(re.findall(r"[0-9]+", stem)) != 1:
        return None
    if found := _BY_END.search(stem):
        word = (found[1] or "").lower()
        return found[2], _SAME.get(word, word)
    beside = _BESIDE.search(stem)
    return (beside[1], "beside") if beside else None


def competing(counts: Mapping[int, Collection[str]], asked_for: Collection[int]) -> set[int]:
    """Steps that cannot be compared with others, as `epoch_3.pt` and `checkpoint-500/`: none of them is known to be newer.

    `counts`: what counts each step; kinds that share a step count the same. `asked_for`: steps with a folder named by nothing
    but the step, which is what Fovea asks programs for. Where there are such, all others give way.
    """
    groups: list[set[str]] = []
    for kinds in counts.values():
        joined = [group for group in groups if group & set(kinds)]
        groups = [group for group in groups if group not in joined] + [set(kinds).union(*joined)]
    if len(groups) < 2:
        return set()
    first = next(iter(asked_for), None)
    chosen = next((group for group in groups if first is not None and group & set(counts[first])), set[str]())
    return {step for step, kinds in counts.items() if not chosen & set(kinds)}
