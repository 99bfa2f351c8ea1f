"""Names and types of the options of a model."""

from __future__ import annotations

from typing import Any

OPTIONS = {
    "max_tokens": "num_predict",
    "repetition_penalty": "repeat_penalty",
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "stop", "seed")},
    **{name: name for name in ("presence_penalty", "frequency_penalty")},
}
"""Ollama's names of the sampling parameters (Ollama documentation, "Modelfile", parameters)."""
LOADED_WITH = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap")
"""The options for which a model is loaded again (Ollama's `api/types.go`, `Runner`)."""
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "an integer": (
        (int,),
        "num_ctx num_batch num_gpu main_gpu num_thread num_keep num_predict seed top_k "
        "repeat_last_n mirostat",
    ),
    "a number": (
        (int, float),
        "temperature top_p min_p typical_p tfs_z mirostat_tau mirostat_eta repeat_penalty "
        "presence_penalty frequency_penalty",
    ),
    "true or false": ((bool,), "use_mmap use_mlock low_vram numa penalize_newline"),
    "a list of texts": ((list,), "stop"),
}
"""The types of the options (`api/types.go`:
https://github.com/ollama/ollama/blob/main/api/types.go)."""
NAMES = " ".join(names for _, names in _KINDS.values()).split()
"""The names of all options."""


def wrong_option(name: str, value: Any) -> str:
    """What is wrong with an option, or an empty text.

    Ollama ignores options that it does not know, and answers 500 to those of another type.

    Args:
        name: Its name.
        value: Its value.
    """
    for kind, (types, names) in _KINDS.items():
        if name in names.split():
            texts = value if name == "stop" and isinstance(value, list) else ""
            is_right = type(value) in types and all(isinstance(each, str) for each in texts)
            is_right = is_right and str(value) not in ("nan", "inf", "-inf")
            return "" if is_right else f"the option {name!r} is {kind}"
    return f"Ollama has no option {name!r}; it has {', '.join(NAMES)}"
