"""Kubernetes' rule for `$(NAME)` in commands, arguments and values of variables, as its API documents it.

Written from the documentation of Container.command, Container.args and EnvVar.value, not from Fovea's own code: `$(NAME)`
becomes the variable's value, a reference to a variable that does not exist stays as it is, and `$$` is one `$`.
"""

from collections.abc import Mapping
from typing import Any


def expand(text: str, variables: Mapping[str, str]) -> str:
    """What a container gets for this text."""
    result, at = [], 0
    while at < len(text):
        following = text[at + 1 : at + 2]
        if text[at] != "$" or not following:
            result.append(text[at])
            at += 1
        elif following == "$":
            result.append("$")
            at += 2
        elif following == "(" and (end := text.find(")", at + 2)) >= 0:
            name = text[at + 2 : end]
            result.append(variables.get(name, text[at : end + 1]))
            at = end + 1
        else:
            result.append(text[at : at + 1])
            at += 1
    return "".join(result)


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a container, each expanded with those before it."""
    variables: dict[str, str] = {}
    for variable in container.get("env", ()):
        variables[variable["name"]] = expand(variable.get("value", ""), variables)
    return variables


def command_line(container: Mapping[str, Any]) -> list[str]:
    """Command and arguments as the program gets them."""
    variables = environment(container)
    return [expand(word, variables) for word in (*container.get("command", ()), *container.get("args", ()))]
