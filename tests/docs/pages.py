"""The pages of the documentation, their snippets, and a reader who copies from them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = [path for path in sorted(ROOT.glob("docs/**/*.md")) if "_build" not in path.parts]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *DOCS,
    *sorted(ROOT.glob("chainette-*/README.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
RECIPES = [page for page in DOCS if page.parent.name == "recipes" and page.stem != "index"]
"""Pages with one program each, which tests run on scripted answers."""
START = ROOT / "docs/start.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FOREIGN = re.compile(r"^(apiVersion|receivers):", re.MULTILINE)
"""YAML of other programs, whose page has a test of its own."""
FILE_NAME = re.compile(r"# ([\w-]+\.\w+)\n")


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file_name(self) -> str:
        """File name in a comment on the first line, if there is one."""
        match = FILE_NAME.match(self.text)
        return match[1] if match else ""

    @property
    def commands(self) -> list[str]:
        """Commands after the prompts of a console, without comments."""
        return [
            line.removeprefix("$ ").partition("   #")[0].strip()
            for line in self.text.splitlines()
            if line.startswith("$ ")
        ]


def snippets(pages: Iterable[Path] = PAGES, *languages: str) -> list[Snippet]:
    result = []
    for page in pages:
        text = page.read_text()
        for match in FENCE.finditer(text):
            line = text[: match.start()].count("\n") + 1
            result.append(Snippet(page, line, match[1], match[2]))
    return [snippet for snippet in result if not languages or snippet.language in languages]


def commands(pages: Iterable[Path] = PAGES) -> list[str]:
    return [line for it in snippets(pages, "console") for line in it.commands]


REPOSITORY_PAGES = [
    page for page in PAGES if any(line.startswith("make ") for line in commands([page]))
]
"""Pages for readers who have cloned the repository; the others are for users of the packages."""


@dataclass
class Reader:
    """Copies pages from top to bottom into a folder with its own Python environment."""

    folder: Path
    environment: dict[str, str]
    install: list[str]
    """Command that replaces `pip install`."""
    log: list[str] = field(default_factory=list)

    def read(self, page: Path) -> None:
        parts = snippets([page])
        if not parts[0].text.startswith("$ pip install "):
            self.prepare()
        for snippet in parts:
            self.write(snippet)
            if snippet.language == "python":
                self.call(str(snippet), "python", snippet.file_name or "-c", snippet.text)
            for line in snippet.commands if snippet.language == "console" else []:
                self.command(str(snippet), line)

    def prepare(self) -> None:
        """Set up the state after the first page: the library, an engine, a chain and its rows."""
        for snippet in snippets([START]):
            self.write(snippet)
        for line in commands([START]):
            if line.startswith(("echo ", "pip install ")) and "openai" not in line:
                self.command("start", line)

    def write(self, snippet: Snippet) -> None:
        """Write a file, if the snippet is one; a model on this machine gets one thread only."""
        text = snippet.text
        if "threads" not in text:  # see the fixture `examples` for why
            text = re.sub(r"^( *)backend: llamacpp$", r"\g<0>\n\1threads: 1", text, flags=re.M)
        if snippet.file_name:
            (self.folder / snippet.file_name).write_text(text)

    def command(self, where: str, line: str) -> None:
        words = shlex.split(line)
        if words[0] == "cd":
            self.folder /= words[1]
        elif words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value.replace("…", "sk-test")
        elif words[:2] == ["pip", "install"]:
            self.call(where, *self.install, *words[2:])
        else:
            self.call(where, "bash", "-c", line)

    def call(self, where: str, *command: str) -> None:
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        output = f"{where}: {shlex.join(command)[:300]}\n{result.stdout}\n{result.stderr}"
        assert result.returncode == 0, output
        assert "Traceback" not in result.stderr, output
        self.log.append(output)


def shell_variables(programs: Path, **variables: str) -> dict[str, str]:
    """Variables of a shell in which the environment with these programs is active."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "PYTHON", "CHAINETTE_", "VIRTUAL_ENV"))
    }
    path = f"{programs}:{variables.pop('PATH', os.environ['PATH'])}"
    return inherited | variables | {"PATH": path, "COLUMNS": "200"}
