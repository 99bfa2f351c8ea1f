"""A run of every hard type, for a process that is killed: RUN ROWS URL."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from chainette import Chain, Step, apply, register_engine
from hard_values import HARD
from pydantic import BaseModel

NAMES = [name for name in HARD if name != "Locked"]  # a lock cannot be pickled


class Row(BaseModel):
    number: int


class Word(BaseModel):
    word: str


def chain(notes: Any) -> Chain:
    """A step for each type, and a function that notes the value which later steps see."""

    def noted(index: int) -> Any:
        def note(value: Any, names: Any) -> Word:
            pickle.dump((index, names["chain_input"].number, names[f"m{index}"]), notes)
            notes.flush()
            return Word(word="w")

        return apply(note, id=f"note{index}", input_model=Any)

    def step(index: int) -> Any:
        return Step(
            id=f"m{index}",
            input_model=Any,
            output_model=HARD[NAMES[index]][0],
            engine_name="e",
            user_prompt=f"{index} {{{{ chain_input.number }}}}",
        )

    nodes = [node for index in range(len(NAMES)) for node in (step(index), noted(index))]
    nodes[0].input_model = Row
    return Chain(name="hard", steps=nodes)


def main(run: str, rows: int, url: str) -> None:
    """Run or resume."""
    register_engine("e", backend="openai", model="m", endpoint=url, max_concurrency=16)
    with Path(run).with_suffix(".notes").open("ab") as notes:
        chain(notes).run(
            [Row(number=number) for number in range(rows)], output_dir=run, resume=True
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
