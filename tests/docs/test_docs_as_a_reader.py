"""Every page works when copied from top to bottom into a new environment with the built wheels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, RECIPES, REPOSITORY_PAGES, ROOT, Reader, shell_variables, snippets

PAGES_TO_RUN = [
    page
    for page in PAGES
    if snippets([page], "python", "console") and page not in [*REPOSITORY_PAGES, *RECIPES]
]


@pytest.fixture(scope="session")
def hosted_model(shared: Any) -> str:
    """Base URL of a real server whose model has the name that the pages use."""
    url: str = shared.llama_server("gpt-4.1-mini")
    return url


@pytest.mark.llamacpp
@pytest.mark.docs_venv
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES_TO_RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_works_from_top_to_bottom(
    page: Path,
    wheels: Path,
    hosted_model: str,
    docker: tuple[dict[str, str], Path],
    tmp_path: Path,
) -> None:
    uv, python = Path(sys.executable).with_name("uv"), tmp_path / "venv/bin/python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"])
    # vLLM itself, gigabytes for a GPU, is the one dependency that is not installed here.
    (tmp_path / "without").write_text("vllm; python_version < '3'\n")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--find-links", wheels]
    install += ["--override", tmp_path / "without"]
    folder = tmp_path / "work"
    folder.mkdir()
    variables = docker[0] | {"OPENAI_BASE_URL": hosted_model}
    reader = Reader(folder, shell_variables(python.parent, **variables), [*map(os.fspath, install)])
    reader.read(page)
    assert reader.log
