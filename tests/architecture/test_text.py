"""No file names a path of somebody's machine, a package registry or a host outside: the project runs anywhere."""

import re

import pytest

from support.checkout import ROOT, files, name

NOT_TEXT = {".gguf", ".png", ".whl"}
TEXTS = [path for path in files() if path.suffix not in NOT_TEXT and path != ROOT / "LICENSE"]

FOREIGN_HOST = re.compile(
    r"https?://(?!(?:[\w-]+\.)*example(?:\.(?:com|org|net))?\b|[\w.-]+\.(?:test|invalid|local|svc)\b)[\w-]+(?:\.[\w-]+)*\.[a-z]+"
)
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:root|work|home/(?!person\b)[a-z]\w*|Users)(?:/\w|(?=[\s\"'`]))")
PACKAGE_INDEX = re.compile(r"--(?:extra-)?index[-]url(?!==)|--find[-]links|PIP_[I]NDEX|--trusted[-]host")


@pytest.mark.parametrize(
    "forbidden", [FOREIGN_HOST, MACHINE_PATH, PACKAGE_INDEX], ids=["foreign host", "machine path", "package index"]
)
def test_no_file_names(forbidden):
    found = {name(path): match.group() for path in TEXTS for match in forbidden.finditer(path.read_text())}
    assert found == {}


@pytest.mark.parametrize(
    ("forbidden", "text"),
    [
        (FOREIGN_HOST, "see https://" + "hub.somewhere.org/x"),
        (MACHINE_PATH, "cd /" + "root/x"),
        (MACHINE_PATH, "'/" + "home/me/x'"),
        (PACKAGE_INDEX, "pip install --" + "index-url x"),
    ],
)
def test_what_is_forbidden_is_seen(forbidden, text):
    assert forbidden.search(text)


@pytest.mark.parametrize(
    "text", ["https://api.example.com/v1", "https://127.0.0.1:1", "${x}/work", "a/root/b", "mi.work", "/home/person/x"]
)
def test_what_is_allowed_is_not_seen(text):
    assert not any(forbidden.search(text) for forbidden in (FOREIGN_HOST, MACHINE_PATH, PACKAGE_INDEX))
