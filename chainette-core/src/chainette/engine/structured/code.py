"""Code as an answer: the type that asks for it, and the text inside its fence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args

from chainette.errors import ChainError

_LANGUAGES = (
    "python py python ipython jupyter",
    "javascript js mjs cjs node nodejs ecmascript",
    "typescript ts",
    "bash sh shell zsh",
    "powershell ps ps1 pwsh",
    "sql postgresql postgres psql pgsql mysql mariadb sqlite tsql plsql",
    "c++ cpp cxx cc hpp",
    "c# cs csharp",
    "f# fs fsharp",
    "go golang",
    "rust rs",
    "ruby rb",
    "kotlin kt kts",
    "haskell hs",
    "perl pl",
    "julia jl",
    "elixir ex exs",
    "erlang erl",
    "clojure clj cljs",
    "r rscript",
    "objective-c objc objectivec",
    "visual-basic vb vbnet vb.net",
    "yaml yml",
    "html htm xhtml",
    "markdown md",
    "text txt plaintext plain",
    "latex tex",
    "terraform tf hcl",
    "dockerfile docker containerfile",
    "makefile make mk",
    "graphql gql",
    "jinja jinja2 j2",
    "diff patch",
)
"""The names of a language in the info strings of fences, the usual one first."""
_NAMES = {name: line.split()[0] for line in _LANGUAGES for name in line.split()}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FENCE = re.compile(
    r"(?P<indent>[ \t]*(?P<marker>(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<marks>`{3,}|~{3,})(?P<info>.*)"
)
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_INLINE = re.compile(r"```(?:(?P<word>\S+)[ \t]+)?(?P<code>[^`\n]+)```")


class CodeBlockError(ValueError):
    """An answer has no code, or more than one block of it."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The mark of a type whose answer is code.

    Attributes:
        language: The language, or `None` for any.
    """

    language: str | None = None

    def code(self, text: str, *, is_cut: bool = False) -> str:
        """The code in an answer: of its one fenced block, or all of it where there is none.

        Of several blocks, the one with the language counts. Lines end with a line feed, whatever
        the model writes.

        Args:
            text: The answer, without thoughts.
            is_cut: Whether it was cut at the token limit.

        Raises:
            CodeBlockError: There are several blocks, or what the block is cannot be told.
        """
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        blocks = list(_blocks(text))
        if blocks and not (is_cut or blocks[-1].is_certain):
            if blocks[-1].code:
                raise CodeBlockError("the answer has a code block that is not closed")
            text = text[: text.rindex(blocks[-1].marks)]  # the end of one that it does not begin
            blocks.pop()
        return self._chosen(blocks).code if blocks else self._without_fence(text)

    def _chosen(self, blocks: list[_Block]) -> _Block:
        named = [it for it in blocks if self.language and is_same(it.language, self.language)]
        for choice in (blocks, named):
            if len(choice) == 1:
                return choice[0]
        count = len(named) or len(blocks)
        number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
        words = f"{self.language} code" if 0 < len(named) < len(blocks) else "code"
        none = f", and none is {self.language}" if self.language and not named else ""
        raise CodeBlockError(f"the answer has {number} {words} blocks{none}; it must have one")

    def _without_fence(self, text: str) -> str:
        text = text.strip()
        if (inline := _INLINE.fullmatch(text)) is not None:
            word, code = inline["word"], inline["code"]
            is_language = word is not None and self._is_language(word)
            return (code if word is None or is_language else text[3:-3]).strip()
        if any("```" in line.lstrip().lstrip("`") for line in text.split("\n")):
            raise CodeBlockError("the answer's code block must begin on a line of its own")
        return text

    def _is_language(self, word: str) -> bool:
        return is_same(word, self.language) if self.language else word.lower() in _NAMES

    def __repr__(self) -> str:
        """The call that makes it."""
        return f"Code({self.language!r})" if self.language else "Code()"


@dataclass(slots=True)
class _Block:
    """A fenced block.

    Attributes:
        marks: The backticks or tildes in front of it.
        indent: Columns in front of them.
        language: The first word of the info string.
        is_first: Whether nothing is in front of it.
        is_closed: Whether it has an end.
        lines: The lines inside.
    """

    marks: str
    indent: int
    language: str
    is_first: bool
    is_closed: bool = False
    lines: list[str] = field(default_factory=list)

    @property
    def is_certain(self) -> bool:
        """Whether its first line is certainly not the end of another block."""
        return self.is_closed or self.is_first or bool(self.language)

    @property
    def code(self) -> str:
        """The text inside, without blank lines around it."""
        lines = self.lines
        if not self.is_closed and lines and set(lines[-1].strip()) == {self.marks[0]}:
            lines = lines[:-1]  # its end was cut
        return re.sub(r"\A(?:[ \t]*\n)+", "", "\n".join(lines)).rstrip()

    def closes(self, line: str) -> bool:
        """Whether a line ends it (CommonMark 0.31, 4.5)."""
        marks = line.strip()
        is_fence = len(marks) >= len(self.marks) and set(marks) == {self.marks[0]}
        return is_fence and _columns(line) <= self.indent + 3

    def add(self, line: str) -> None:
        """Add a line, without the indentation that the block has."""
        place = next((i for i, mark in enumerate(line[: self.indent]) if mark not in " \t"), None)
        self.lines.append(line[self.indent if place is None else place :])


def _blocks(text: str) -> Iterator[_Block]:
    """The fenced blocks of a text, as CommonMark has them (0.31, 4.5), also those inside lists."""
    block: _Block | None = None
    is_first, has_list = True, False
    for line in text.split("\n"):
        if block is not None:
            if block.closes(line):
                block.is_closed = True
                yield block
                block = None
            else:
                block.add(line)
            continue
        block = _opened(line, has_list=has_list, is_first=is_first)
        has_list = has_list or _LIST.match(line) is not None
        is_first = is_first and not line.strip()
    if block is not None:
        yield block


def _opened(line: str, *, has_list: bool, is_first: bool) -> _Block | None:
    """The block that a line opens, if it does."""
    fence = _FENCE.fullmatch(line)
    if fence is None or (fence["marks"][0] == "`" and "`" in fence["info"]):
        return None
    if _columns(line) > 3 and not (has_list or fence["marker"]):
        return None
    word = re.search(r"[^\s{}.,:=;][^\s{},:=;]*", fence["info"])
    return _Block(fence["marks"], len(fence["indent"]), word[0] if word else "", is_first)


def _columns(line: str) -> int:
    """The width of the space in front of a line."""
    spaces = line[: len(line) - len(line.lstrip())]
    return len(spaces.expandtabs(4))


def is_same(word: str, language: str) -> bool:
    """Whether two names are those of one language: `py`, `Python3` and `python` are."""
    return _known(word) == _known(language)


def _known(name: str) -> str:
    name = name.lower()
    found = _NAMES.get(name) or _NAMES.get(name.rstrip("0123456789."))
    return found or name


def Code(language: str | None = None) -> type[str]:  # noqa: N802  it is written as a type
    """The type of an answer that is code: the text inside its fence, as a `str`.

    As `output_model=Code("python")`; with validators, `Annotated[str, Code("python"), …]`.

    Args:
        language: The language, such as `python`, which decides where the answer has several blocks;
            by default any.

    Raises:
        ChainError: The language is not one word.
    """
    if language is not None and (not isinstance(language, str) or len(language.split()) != 1):
        raise ChainError(f'Code({language!r}): give one language, as in Code("python"), or none')
    fence = Fence(language.strip() if language else None)
    return Annotated[str, fence]  # type: ignore[return-value]


def fence_in(metadata: Any) -> Fence | None:
    """The fence that an item of the metadata in `Annotated` is, or `None`."""
    if isinstance(metadata, Fence):
        return metadata
    return next((it for it in get_args(metadata) if isinstance(it, Fence)), None)
