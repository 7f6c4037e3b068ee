"""No file names a path of somebody's machine, a package registry or a host outside: the project runs anywhere."""

import re

import pytest

from support.checkout import ROOT, files, name

TEXTS = [path for path in files() if path.suffix not in {".gguf", ".png", ".whl", ".lock"} and path != ROOT / "LICENSE"]
HOSTS = re.compile(r"https?://([A-Za-z0-9.-]+\.[A-Za-z]+)")
KNOWN_HOSTS = re.compile(r"(?:.*\.)?example(?:\.(?:com|org|net))?|.*\.(?:test|invalid|local|svc)|localhost")
MACHINE = re.compile(r"(?<![\w.$}-])/(?:root|work|home/[a-z]\w*|Users)(?:/\w|\b(?=[\s\"'`]))")
INDEX = re.compile(r"--(?:extra-)?index[-]url|--find[-]links|PIP_[I]NDEX|--trusted[-]host")


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_a_file_names_nobodys_machine_and_no_foreign_host(path):
    text = path.read_text()
    foreign = {host for host in HOSTS.findall(text) if not KNOWN_HOSTS.fullmatch(host)}
    assert not foreign
    assert not MACHINE.findall(text)
    assert not INDEX.findall(text)
