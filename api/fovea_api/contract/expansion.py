"""Kubernetes replaces `$(NAME)` and `$$` in commands, arguments and values of variables. Fovea's own texts are escaped from it."""


def escaped(text: str) -> str:
    """The text as a pod has to hold it, so that the container gets it byte for byte."""
    return text.replace("$", "$$")


def unescaped(text: str) -> str:
    """What the container gets for a text that `escaped` made."""
    return text.replace("$$", "$")
