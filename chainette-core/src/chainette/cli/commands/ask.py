"""`chainette ask`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainette.cli.engine_file import DEFAULT, EnginesOption, provide_engines

if TYPE_CHECKING:
    from pathlib import Path

    from chainette.engine.client.base import BaseClient
    from chainette.errors import EngineError
    from chainette.types import LLMOutput, Message

_Schema = typer.Option("--schema", help="Type of the answer: file.py:MODEL or module:MODEL.")


def ask(
    engine: Annotated[str, typer.Argument(help="Name of the engine.")],
    prompt: Annotated[str, typer.Argument(help="The prompt; - is stdin.")],
    schema: Annotated[str | None, _Schema] = None,
    engines: EnginesOption = None,
    system: Annotated[str | None, typer.Option("--system", help="The system message.")] = None,
) -> None:
    """Send one prompt and print the answer.

    The answer is text, or with --schema validated JSON. The exit code is 0 with an answer, 1 when
    the answer cannot be used, 2 when there is none, and 130 after Ctrl-C.
    """
    import anyio

    from chainette.cli.startup import startups_shown
    from chainette.errors import OutputError

    messages = _messages(prompt, system)
    model = None if schema is None else _load_type(schema)
    client = _client(engine, engines)
    with startups_shown():
        output = anyio.run(_answer, client, messages, model)
    error = output.error or (None if schema else _problem(client, output))
    if error is None:
        _print(client, output, model)
        _print_usage(output)
    elif isinstance(error, OutputError):
        _print_error(error)
        _print_usage(output)
        raise typer.Exit(1)
    else:
        raise error


def _messages(prompt: str, system: str | None) -> list[Message]:
    """The conversation; a prompt from stdin ends without a line break."""
    try:
        if prompt == "-":
            prompt = sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\r\n")
        (prompt + (system or "")).encode()
    except UnicodeError:
        raise typer.BadParameter("the text is not UTF-8") from None
    if not prompt.strip():
        raise typer.BadParameter("the prompt is empty", param_hint="PROMPT")
    user: Message = {"role": "user", "content": prompt}
    return [{"role": "system", "content": system}, user] if system else [user]


def _load_type(reference: str) -> Any:
    """The type of the answer.

    Raises:
        ChainError: There is no such type, or it has no JSON schema.
    """
    from types import FunctionType

    from chainette.engine.structured.answer import answer_form
    from chainette.errors import ChainError
    from chainette.loading.importing import load_symbol
    from chainette.text import printable

    model = load_symbol(reference)
    if model is None or isinstance(model, FunctionType):  # Pydantic would call the function
        raise ChainError(f"{reference}: is not a type")
    try:
        answer_form(model)
    except Exception as error:  # Pydantic raises several kinds, and a user's type any
        reason = printable(str(error).partition("\n")[0])
        raise ChainError(f"{reference}: has no JSON schema: {reason}") from None
    return model


def _client(name: str, file: Path | None) -> BaseClient:
    from chainette.registry.config_file import load_missing_engines
    from chainette.registry.engines import engine_names, get_engine

    provide_engines(file, [name])
    if name not in engine_names() and DEFAULT.is_file():
        load_missing_engines(DEFAULT)  # for the message, which suggests a similar name
    return get_engine(name)


async def _answer(client: BaseClient, messages: list[Message], model: Any) -> LLMOutput:
    def tell(error: EngineError, seconds: float) -> None:
        from chainette.text import printable

        if _is_talkative():
            typer.echo(f"trying again in {seconds:.1f} s: {printable(str(error))}", err=True)

    try:
        return await client.complete(messages, output_model=model, on_retry=tell)
    finally:
        await client.aclose()


def _problem(client: BaseClient, output: LLMOutput) -> EngineError | None:
    """The reason why a text cannot be used."""
    from chainette.errors import OutputError, RefusalError

    completion = output.outputs[0]
    where, text = f"engine {client.config.name!r}", client.scrub(completion.text)
    if completion.finish_reason in ("refusal", "content_filter"):
        return RefusalError(f"{where}: no answer ({completion.finish_reason})", raw_text=text)
    if not text.strip():
        return OutputError(f"{where}: the answer is empty")
    if completion.finish_reason == "length":
        typer.echo("the answer was cut at the server's limit of tokens", err=True)
    return None


def _print(client: BaseClient, output: LLMOutput, model: Any) -> None:
    """Print the answer: readable on a terminal, as it is elsewhere."""
    from chainette.engine.structured.answer import answer_form
    from chainette.engine.structured.text import is_text
    from chainette.text import escaped

    is_terminal = sys.stdout.isatty()
    text = output.outputs[0].text
    if model is not None:
        adapter, indent = answer_form(model).adapter, 2 if is_terminal else None
        value = output.outputs[0].parsed
        text = adapter.dump_json(value, indent=indent, by_alias=False, round_trip=True).decode()
        text = value if isinstance(value, str) and is_text(model) else text
    text = client.scrub(text)
    # Typer removes colours from a text that does not go to a terminal; it leaves bytes alone.
    typer.echo(escaped(text) if is_terminal else text.encode(errors="replace"))


def _print_error(error: EngineError) -> None:
    from chainette.text import printable

    typer.echo(f"error: {printable(str(error))}", err=True)
    if error.raw_text:
        typer.echo(f"the answer: {printable(error.raw_text)[:1000]}", err=True)


def _print_usage(output: LLMOutput) -> None:
    """Print tokens, cost and time to stderr, unless a program reads it."""
    if not _is_talkative():
        return
    parts = []
    if (usage := output.usage) is not None:
        parts.append(f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out")
    if output.cost:
        parts.append(f"${output.cost:.6f}")
    typer.echo(", ".join([*parts, f"{output.latency:.2f} s"]), err=True)


def _is_talkative() -> bool:
    return sys.stderr.isatty() or logging.getLogger("chainette").isEnabledFor(logging.DEBUG)
