"""Commands of README, tutorial, how-tos and reference, as they stand there."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("[hrt]*/*.md")))
SHELL = ("console", "bash", "sh", "shell")


@dataclass(frozen=True)
class Command:
    """A command and the page it stands on."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """As the shell would split it, in the current folder."""
        found = []
        for word in shlex.split(self.text, comments=True):
            found += [str(path) for path in sorted(Path().glob(word))] or [word] if "*" in word else [word]
        return found

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(text: str, *languages: str) -> Iterator[str]:
    """Content of fenced blocks of these languages."""
    for language, content in re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if language in languages:
            yield content


def commands(page: Path) -> Iterator[Command]:
    """Commands of a page's shell blocks: one each line, continuation lines joined, comments and prompts dropped."""
    name = str(page.relative_to(ROOT))
    for block in blocks(page.read_text(encoding="utf-8"), *SHELL):
        for line in block.replace("\\\n", " ").splitlines():
            bare = re.sub(r"(^|\s)#.*$", "", line.removeprefix("$ ")).strip()
            if bare:
                yield Command(name, re.sub(r"\s+", " ", bare))


def inline(page: Path) -> Iterator[Command]:
    """Commands in running text: `make …`, `fovea …`, `kubectl …`, without those that leave something out."""
    name = str(page.relative_to(ROOT))
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for text in re.findall(r"`((?:make|fovea|kubectl explain|kubectl delete) [^`]+)`", prose):
        if "…" not in text and "<" not in text:
            # A verb that is only named is asked for its help.
            named = text.startswith("fovea ") and re.fullmatch(r"[a-z ]+", text)
            yield Command(name, f"{text} --help" if named else text)


IN_BLOCKS = [command for page in PAGES for command in commands(page)]
ALL = IN_BLOCKS + [command for page in PAGES for command in inline(page)]


def of(program: str, among: list[Command] = ALL) -> list[Command]:
    """Commands of a program, by default also those in running text."""
    return [command for command in among if Path(command.words[0]).name == program]


def yaml_blocks() -> Iterator[tuple[str, str]]:
    """Every YAML block of the pages, and where it stands."""
    for page in PAGES:
        for number, block in enumerate(blocks(page.read_text(encoding="utf-8"), "yaml")):
            yield f"{page.relative_to(ROOT)}, block {number}", block


def documents(text: str) -> list[dict[str, Any]]:
    """Of a text of YAML, without those that are empty."""
    return [document for document in yaml.safe_load_all(text) if document]


def groups(text: str) -> set[str]:
    """API groups of the manifests in a text; none where it is no manifest."""
    return {document["apiVersion"].rpartition("/")[0] for document in documents(text) if "apiVersion" in document}
