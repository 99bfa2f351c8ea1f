"""Names of chains and functions: `source:name`, where a source may be a path of Windows."""

from __future__ import annotations

import pytest
from chainette.loading.importing import split_target


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("module:name", ("module", ":", "name")),
        ("package.module:name", ("package.module", ":", "name")),
        ("f:double", ("f", ":", "double")),  # a module of one letter
        ("chain.py:chain", ("chain.py", ":", "chain")),
        (r"C:\work\chain.py:chain", (r"C:\work\chain.py", ":", "chain")),
        (r"C:\work\chain.yml", (r"C:\work\chain.yml", "", "")),
        ("C:/work/chain.yml", ("C:/work/chain.yml", "", "")),
        ("C:chain.yml", ("C:chain.yml", "", "")),
        ("chain.yml", ("chain.yml", "", "")),
        ("f:", ("f:", "", "")),
        ("module", ("module", "", "")),
    ],
)
def test_the_name_follows_the_last_colon_that_is_not_of_a_drive(
    target: str, parts: tuple[str, str, str]
) -> None:
    assert split_target(target) == parts
