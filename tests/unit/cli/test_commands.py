"""The command line without a platform: help, wrong flags, errors of one line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from matrixinfer import __version__
from matrixinfer.cli import chat as chat_module
from matrixinfer.cli import checks
from matrixinfer.cli.app import app
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.manifest_files import read_text
from matrixinfer.cli.process import set_up_logging
from matrixinfer.up import record

COMMANDS = (
    "up",
    "chat",
    "apply",
    "get",
    "delete",
    "webhooks",
    "explain",
    "replay",
    "doctor",
    "simulate",
    "gateway",
    "handlers",
    "node",
    "agent",
)
WITH_EXAMPLE = set(COMMANDS) - {"doctor", "node"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("MATRIXINFER_BUS_URL", "MATRIXINFER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MATRIXINFER_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    runner = CliRunner()
    return lambda *arguments, **options: runner.invoke(app, arguments, **options)


def test_help_lists_every_command_and_nothing_starts(run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_most_an_example(run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert ("matrixinfer " + command in result.stdout) == (command in WITH_EXAMPLE)


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("up", "1"),
        ("up", "~/.local/share/matrixinfer"),
        ("gateway", "127.0.0.1"),
        ("gateway", "8080"),
        ("handlers", "all but admission"),
        ("node", "local"),
        ("agent", "host name"),
    ],
)
def test_the_help_shows_defaults_that_settings_decide(run, command: str, default: str) -> None:
    words = " ".join(run(command, "--help", env={"COLUMNS": "200"}).stdout.replace("│", " ").split())
    assert f"[default: {default}]" in words


def test_the_version_is_printed(run) -> None:
    assert run("--version").stdout == f"matrixinfer {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("up", "--bogus"),
        ("up", "--port", "x"),
        ("up", "--port", "70000"),
        ("get",),
        ("get", "x", "-o", "z"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "pods"), "no platform runs here: start one with `matrixinfer up`, or name its bus with --bus"),
        (
            ("chat", "x", "hello"),
            "no platform runs here: start one with `matrixinfer up`, or name a gateway with --url",
        ),
        (("delete", "model"), "say what to delete: KIND and NAME, or -f FILE"),
        (("apply", "-f", "/nowhere.yaml"), "/nowhere.yaml: No such file or directory"),
        (("up", "-f", "/nowhere.yaml"), "/nowhere.yaml: No such file or directory"),
        (("up", "--engine", "vllm"), "--engine vllm: expected 'simulated'"),
        (
            ("handlers", "--only", "dispatch,nonsense"),
            "roles.1: expected 'cluster', 'reconcile', 'dispatch' or 'admission', got 'nonsense'",
        ),
        (("webhooks", "--url", "http://here"), "--url: expected https://"),
        (("webhooks", "--cert-manager", "x"), "--cert-manager: expected NAMESPACE/CERTIFICATE, got 'x'"),
        (("gateway", "--port", "99999"), "port: expected less than or equal to 65535, got 99999"),
    ],
)
def test_an_error_is_one_readable_line_and_code_1(run, arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_debug_keeps_the_traceback(run) -> None:
    result = run("--debug", "get", "pods")
    assert isinstance(result.exception, CliError)


def test_delete_says_when_a_file_holds_no_objects(run, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("kind: Model\nmetadata: {}\n")
    result = run("delete", "-f", str(tmp_path / "x.yaml"))
    assert result.exit_code == 1
    assert "metadata.name" in result.stderr


def test_doctor_says_that_nothing_runs(run) -> None:
    result = run("doctor")
    assert result.exit_code == 1
    assert "start one with `matrixinfer up`" in result.stdout


def test_doctor_says_that_the_bus_is_away(run, tmp_path: Path) -> None:

    url = "nats://operator:secret@127.0.0.1:9"
    born_s = psutil.Process().create_time()
    note = record.Record(os.getpid(), "h", __version__, "http://127.0.0.1:9", url, "mi", str(tmp_path), born_s)
    record.write(tmp_path, note)
    result = run("doctor")
    assert result.exit_code == 1
    assert "bus" in result.stdout
    assert "secret" not in result.stdout


def test_no_log_line_stands_beside_what_a_command_says(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "matrixinfer", "doctor", "--bus", "nats://127.0.0.1:9", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "no NATS server answers" in result.stdout
    assert result.stderr == ""


def test_the_help_loads_no_part_of_the_platform() -> None:
    script = "import sys; from matrixinfer.cli.app import app; print([m for m in sys.modules if m.startswith(%s)])"
    heavy = (
        "('matrixinfer.bus', 'matrixinfer.up', 'matrixinfer.gateway', 'matrixinfer.handlers', 'matrixinfer.agents', "
    )
    heavy += "'matrixinfer.simulate')"
    result = subprocess.run([sys.executable, "-c", script % heavy], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# -- chat, against a gateway made of a function


def gateway(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/v1/models":
        return httpx.Response(200, json={"data": [{"id": "only"}]})
    if request.url.path != "/v1/chat/completions":
        return httpx.Response(404, json={"error": {"message": f"there is nothing at {request.url.path}"}})
    body = json.loads(request.content)
    if body["model"] != "only":
        return httpx.Response(404, json={"error": {"message": f"no model {body['model']}"}})
    said = body["messages"][-1]["content"]
    if said == "break":
        return httpx.Response(200, text='data: {"error": {"message": "the agent died"}}\n\n')
    events = [{"choices": [{"delta": {"content": piece}}]} for piece in ("you said ", said)]
    return httpx.Response(200, text="".join(f"data: {json.dumps(one)}\n\n" for one in events) + "data: [DONE]\n\n")


class Mute(httpx.BaseTransport):
    """Breaks off without a word, as a timeout or a closed connection may."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")


def test_a_gateway_that_breaks_off_without_a_word_is_named_by_the_kind_of_error(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = httpx.Client(transport=Mute(), base_url="http://gateway")
    monkeypatch.setattr(httpx, "Client", lambda **_: client)
    result = run("chat", "only", "hello", "--url", "http://gateway")
    assert "no answer from the gateway at http://gateway: ReadTimeout" in result.stderr


@pytest.mark.parametrize("url", ["http://gateway", "http://gateway/", "http://gateway/v1", "http://gateway/v1/"])
def test_the_gateway_is_found_by_the_base_url_of_openais_clients_too(run, monkeypatch, url: str) -> None:
    make = httpx.Client
    monkeypatch.setattr(
        httpx, "Client", lambda **given: make(transport=httpx.MockTransport(gateway), base_url=given["base_url"])
    )
    assert run("chat", "only", "hello", "--url", url).stdout == "you said hello\n"


async def test_doctor_names_the_kind_of_an_error_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> httpx.Response:
        raise httpx.ReadTimeout("")

    monkeypatch.setattr(httpx.AsyncClient, "get", fail)
    assert (await checks.gateway("http://gateway")).text == "http://gateway does not answer: ReadTimeout"


@pytest.fixture
def client() -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(gateway), base_url="http://gateway")


def test_the_only_model_is_chosen_by_itself(client: httpx.Client) -> None:
    assert chat_module.choose_model(client, None) == "only"
    assert chat_module.choose_model(client, "wanted") == "wanted"


def test_an_answer_is_printed_and_remembered(client: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    conversation = chat_module.Conversation(client, "only", "be kind", {"max_tokens": 5, "temperature": None})
    conversation.ask("hello")
    assert capsys.readouterr().out == "you said hello\n"
    assert [message["role"] for message in conversation._messages] == ["system", "user", "assistant"]


@pytest.mark.parametrize(("model", "text", "said"), [("other", "x", "no model other"), ("only", "break", "agent died")])
def test_an_error_of_the_gateway_is_told_and_the_question_forgotten(client, model, text, said) -> None:
    conversation = chat_module.Conversation(client, model, None, {})
    with pytest.raises(CliError, match=said):
        conversation.ask(text)
    assert conversation._messages == []


def test_the_conversation_goes_on_after_an_error_and_ends_with_the_input(
    client: httpx.Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("break\n\nhello\n"))
    chat_module.converse(chat_module.Conversation(client, "only", None, {}))
    printed = capsys.readouterr()
    assert "you said hello" in printed.out
    assert "the agent died" in printed.err


def test_a_log_level_that_does_not_exist_stops_the_start_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MATRIXINFER_LOG_LEVEL", "loud")

    with pytest.raises(SystemExit, match=r"MATRIXINFER_LOG_LEVEL is 'LOUD': expected DEBUG"):
        set_up_logging()


def test_a_manifest_that_is_not_text_is_refused_with_its_first_wrong_byte(tmp_path: Path) -> None:
    manifest = tmp_path / "model.yaml"
    manifest.write_bytes(b"kind: M\xff")

    with pytest.raises(CliError, match=r"model.yaml: expected a manifest in UTF-8, met byte 0xff"):
        read_text(str(manifest))
