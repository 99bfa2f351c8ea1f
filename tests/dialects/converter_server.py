"""llama.cpp's server of whatever version of `xllamacpp` is on the path, as a process of its own.

`python converter_server.py MODEL ADDRESS_FILE`: the base URL is written when it listens.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def main(model: str, address_file: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = 8192
    params.n_parallel = 4
    params.port = 0
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    draft = Path(f"{address_file}.tmp")
    draft.write_text(server.listening_address)
    draft.replace(address_file)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
