"""`chat`: talk with a model in the terminal, over the gateway's HTTP door."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from matrixinfer.cli.errors import CliError
from matrixinfer.cli.running import DataOption, UrlOption, gateway_url

if TYPE_CHECKING:
    import httpx

Message = dict[str, str]


def register(app: typer.Typer) -> None:
    app.command()(chat)


def chat(
    *,
    model: Annotated[str | None, typer.Argument(help="The model; may be left out when there is only one.")] = None,
    message: Annotated[str | None, typer.Argument(help="Ask this and leave.")] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=2.0, help="Randomness of the answers.")] = None,
    url: UrlOption = None,
    data: DataOption = None,
) -> None:
    """Chat with a model; answers stream as they are made.

    Example: matrixinfer chat

    Example: matrixinfer chat smollm2 "What is the capital of France?"

    Example: echo "Say hello" | matrixinfer chat smollm2
    """
    import httpx

    wishes = {"max_tokens": max_tokens, "temperature": temperature}
    with httpx.Client(base_url=gateway_url(url, data), timeout=httpx.Timeout(10.0, read=600.0)) as client:
        try:
            conversation = Conversation(client, choose_model(client, model), system, wishes)
            if message is None and not sys.stdin.isatty():
                message = sys.stdin.read().strip()
            if message is not None:
                conversation.ask(message)
            else:
                converse(conversation)
        except httpx.HTTPError as error:
            raise CliError(
                f"no answer from the gateway at {client.base_url}: {str(error) or type(error).__name__}"
            ) from error


class Conversation:
    """Keeps what was said. `ask` prints the answer while it comes."""

    def __init__(self, client: httpx.Client, model: str, system: str | None, wishes: dict[str, Any]) -> None:
        self.model = model
        self._client = client
        self._wishes = {name: value for name, value in wishes.items() if value is not None}
        self._messages: list[Message] = [{"role": "system", "content": system}] if system else []

    def ask(self, text: str) -> None:
        """Raises CliError with what the gateway said; then the question is forgotten, so that it can be asked again."""
        question: Message = {"role": "user", "content": text}
        pieces: list[str] = []
        for piece in self._stream([*self._messages, question]):
            pieces.append(piece)
            typer.echo(piece, nl=False)
            sys.stdout.flush()
        typer.echo()
        self._messages += [question, {"role": "assistant", "content": "".join(pieces)}]

    def _stream(self, messages: list[Message]) -> Iterator[str]:
        body = {"model": self.model, "stream": True, "messages": messages, **self._wishes}
        with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.is_error:
                response.read()
                raise CliError(error_message(response))
            for line in response.iter_lines():
                yield from text_of(line)


def converse(conversation: Conversation) -> None:
    """Ask for questions until the end of input."""
    with suppress(ImportError):
        import readline  # noqa: F401  # gives `input` a history and line editing
    typer.secho(f"Chatting with {conversation.model}. Ctrl-D leaves, Ctrl-C interrupts an answer.", dim=True)
    while True:
        try:
            text = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if text:
            _ask_and_go_on(conversation, text)


def _ask_and_go_on(conversation: Conversation, text: str) -> None:
    try:
        conversation.ask(text)
    except KeyboardInterrupt:
        typer.secho(" (interrupted)", dim=True)
    except CliError as error:
        typer.secho(f"error: {error}", err=True, fg="red")


def choose_model(client: httpx.Client, wanted: str | None) -> str:
    """The wanted one, or the only one there is."""
    if wanted is not None:
        return wanted
    response = client.get("/v1/models")
    if response.is_error:
        raise CliError(error_message(response))
    models = [model["id"] for model in response.json()["data"]]
    if len(models) == 1:
        return str(models[0])
    if not models:
        raise CliError("the gateway serves no model yet; look at `matrixinfer get models`")
    raise CliError(f"there are several models, name one: {', '.join(sorted(models))}")


def text_of(line: str) -> Iterator[str]:
    """The text in one line of server-sent events. Raises CliError for an error event."""
    import json

    if not line.startswith("data: ") or line == "data: [DONE]":
        return
    event = json.loads(line[6:])
    if "error" in event:
        raise CliError(str(event["error"].get("message", event["error"])))
    for choice in event.get("choices", ()):
        yield (choice.get("delta") or {}).get("content") or ""


def error_message(response: httpx.Response) -> str:
    """The message of an OpenAI error object, or the status line when there is none."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {response.status_code} {response.reason_phrase}"
