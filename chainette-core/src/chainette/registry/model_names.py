"""Names of models, compared with those that a server lists."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from fnmatch import fnmatchcase

from chainette.engine.pricing.lists import is_same_model

_UNLISTED = (":latest", ":nitro", ":floor", ":online", ":exacto", ":fastest", ":cheapest")
"""Ends of names that choose how a listed model is served: Ollama's default tag (Ollama docs,
"API"), OpenRouter's variants (OpenRouter docs, "Model variants"), and policies of Hugging Face's
router (Hugging Face docs, "Inference Providers")."""


def has_model(model: str, models: Iterable[str]) -> bool:
    """Whether a server has a model under one of the names that it lists.

    `llama3` and `llama3:latest` are one model, and so are an alias and its dated snapshot, and
    names with and without the `models/` that Gemini's list has. LiteLLM lists patterns, such as
    `openai/*` (LiteLLM docs, "Wildcard routing").

    Args:
        model: The name that the engine has.
        models: The names in the list.
    """
    name = _bare(model)
    for listed in map(_bare, models):
        is_snapshot = listed.startswith(name.removesuffix("-latest"))
        if name == listed or (is_snapshot and is_same_model(name, listed)):
            return True
        if "*" in listed and fnmatchcase(name, listed):
            return True
    return False


def closest_models(model: str, models: Iterable[str]) -> list[str]:
    """The names of a list, those first that are most like a model's.

    Args:
        model: The model.
        models: The list.
    """
    name = _bare(model).lower()
    return sorted(models, key=lambda listed: -_likeness(name, _bare(listed).lower()))


def _bare(name: str) -> str:
    end = next(filter(name.endswith, _UNLISTED), "")
    for start in ("models/", "registry.ollama.ai/", "library/"):  # Ollama docs, "Import a model"
        name = name.removeprefix(start)
    return name.removesuffix(end)


def _likeness(name: str, listed: str) -> float:
    """The likeness of two names, with or without the makers' names: from 0 to 1."""
    pairs = ((name, listed), (name.rpartition("/")[2], listed.rpartition("/")[2]))
    return max(SequenceMatcher(None, one, other).ratio() for one, other in pairs)
