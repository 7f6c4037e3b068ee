"""The lifetime of llama.cpp's server: started and freed in a thread, on a socket that only this user can open."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import tempfile
import weakref
from pathlib import Path
from typing import Any

from matrixinfer.agents.engines.errors import StartFailed
from matrixinfer.agents.engines.llamacpp.settings import LlamaCppConfig
from matrixinfer.agents.engines.llamacpp.signals import kept

_GGUF_MAGIC = b"GGUF"
_SOCKET_PATH_LIMIT = 100
"""Bytes; the kernel's limit is 108, and on some systems 104."""
_LOOP_PATIENCE_S = 60.0
"""From the loaded model to the first turn of the server's loop: a moment, also on a machine that has too much to do."""


class LlamaServer:
    """A running server. Both the constructor and `close` block: call them in a thread."""

    def __init__(self, config: LlamaCppConfig, model_path: Path, served_model: str) -> None:
        """Load the model. Raises StartFailed with what to do."""
        _check_model(model_path)
        folder = _private_folder()
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.socket_path = str(folder / "llama.sock")
        self._server = _start(config, model_path, served_model, self.socket_path)
        _await_loop(self.socket_path)

    def close(self) -> None:
        """Stop and free everything; safe to call twice."""
        self._server = None  # its destructor stops the threads and waits for them
        self._remove_folder()


def _check_model(path: Path) -> None:
    """The library says only that it failed, so look first."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        raise StartFailed(f"model {path}: cannot be read ({error.strerror}); give the path of a GGUF file") from error
    if magic != _GGUF_MAGIC:
        raise StartFailed(
            f"model {path}: expected a GGUF file (it begins with {_GGUF_MAGIC!r}), it begins with {magic!r}; "
            "convert the model to GGUF or choose another engine"
        )


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mi-llama-"))
    if len(os.fsencode(folder)) + len("/llama.sock") <= _SOCKET_PATH_LIMIT:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="mi-llama-", dir="/tmp"))


def _start(config: LlamaCppConfig, model_path: Path, served_model: str, socket_path: str) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise StartFailed(f"llama.cpp cannot be loaded ({error}); install the package xllamacpp") from error
    params = _params(xllamacpp, config, model_path, served_model, socket_path)
    try:
        with kept(signal.SIGINT, signal.SIGTERM):
            return xllamacpp.Server(params)
    except (RuntimeError, ValueError, OSError) as error:
        raise StartFailed(
            f"model {model_path}: llama.cpp did not start ({error}); its reason is on standard error when "
            f"log_verbosity is 1 or more (it is {config.log_verbosity}); often the file is damaged, the architecture "
            f"unknown, the chat template wrong, or memory too small for {config.slots} slots of "
            f"{config.context_tokens} tokens"
        ) from error


def _await_loop(socket_path: str) -> None:
    """The library's constructor returns a moment before the server's loop begins. Its destructor, called in that
    moment, is not heard by the loop, and waits for it for ever, with the interpreter's lock in its hand. So ask
    something that only the loop can answer: the slots."""
    connection = http.client.HTTPConnection("localhost")
    try:
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.settimeout(_LOOP_PATIENCE_S)
            connection.sock.connect(socket_path)
            connection.request("GET", "/slots", headers={"Connection": "close"})
            connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise StartFailed(f"llama.cpp has loaded its model and does not answer ({error}); start it again") from error


def _params(library: Any, config: LlamaCppConfig, model_path: Path, served_model: str, socket_path: str) -> Any:
    params = library.CommonParams()
    params.model.path = str(model_path)
    params.model_alias = {served_model}
    params.hostnames = [socket_path]
    params.ui = False
    params.endpoint_slots = True  # _await_loop asks for them
    params.sse_ping_interval = -1
    params.n_parallel = config.slots
    params.n_ctx = config.slots * config.context_tokens
    params.n_batch = config.batch_tokens
    params.n_ubatch = config.batch_tokens
    params.cache_ram_mib = config.prompt_cache_mib
    params.verbosity = config.log_verbosity
    params.cpuparams.n_threads = config.threads or len(os.sched_getaffinity(0))
    if config.chat_template is not None:
        params.chat_template = config.chat_template
    if config.seed is not None:
        params.sampling.seed = config.seed
    return params
