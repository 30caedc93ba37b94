"""The file of an import, as a document: YAML or JSON, exactly one document, no key twice."""

import json
import sys
from pathlib import Path
from typing import Any

from .errors import InvalidError


def read(source: str | Path) -> Any:
    """The document of a file (`-`: standard input); InvalidError names the file and what is wrong."""
    shown = "standard input" if str(source) == "-" else source
    try:
        text = sys.stdin.read() if str(source) == "-" else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidError(f"cannot read {shown}: {error.strerror or error}") from error
    except ValueError as error:
        raise InvalidError(f"{shown} is no text: {error}") from error
    found = [document for document in _documents(text, str(shown)) if document is not None]
    if not found:
        raise InvalidError(f"{shown} is empty: it must hold a TFJob or a trainingInput")
    if len(found) > 1:
        raise InvalidError(
            f"{shown} holds {len(found)} documents, one is expected: import each one from a file of its own"
        )
    return found[0]


def _documents(text: str, shown: str) -> list[Any]:
    if text.lstrip().startswith("{"):
        try:  # JSON may be indented by tabs, which no YAML is
            return [json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, shown))]
        except json.JSONDecodeError:
            pass  # `{name: x}` is YAML
        except RecursionError as error:
            raise InvalidError(f"{shown} is too deep: no job is") from error
    import yaml

    try:
        return list(yaml.load_all(text, Loader=_loader(shown)))
    except RecursionError as error:
        raise InvalidError(f"{shown} is too deep: no job is") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidError(f"{shown} is no YAML: {error}") from error


def _once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """A mapping; InvalidError for a key that is there twice, since one of the two values would be lost."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InvalidError(f"{where}: the key {key} is there twice: remove one of them")
        result[key] = value
    return result


def _loader(shown: str) -> Any:
    """YAML as Kubernetes reads it: keys are texts, dates are texts, and no key is there twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Of this file."""

    def mapping(loader: Any, node: Any) -> Any:
        result: dict[str, Any] = {}
        yield result
        loader.flatten_mapping(node)
        pairs = [(_key(key), loader.construct_object(value, deep=True)) for key, value in node.value]
        result.update(_once(pairs, f"{shown}, line {node.start_mark.line + 1}"))

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))
    return Loader


def _key(node: Any) -> str:
    """As it is written: `1` and `on` are texts as keys."""
    if not isinstance(node.value, str):
        import yaml

        raise yaml.constructor.ConstructorError(None, None, "a key is no text", node.start_mark)
    return str(node.value)
