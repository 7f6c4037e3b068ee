"""The three lists that make a part (its link, `only-include`, `sources`) agree, and a wheel holds every file.

A checkout reads the parts through links, a wheel maps the real folders; either can go wrong without the other noticing
(docs/adr/0001-layout.md).
"""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from support.checkout import NAMESPACE, PARTS, ROOT, files

WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]


def links() -> dict[str, Path]:
    return {path.name: path.readlink() for path in NAMESPACE.iterdir() if path.is_symlink()}


def test_each_part_has_one_link_to_its_folder():
    assert links() == {part: Path("../..") / part for part in PARTS}


def test_the_wheel_maps_each_part_under_the_namespace():
    mapped = {folder: target for folder, target in WHEEL["sources"].items() if folder != "src/matrixinfer"}
    assert mapped == {part: f"matrixinfer/{part}" for part in PARTS}
    assert WHEEL["sources"]["src/matrixinfer"] == "matrixinfer"


def test_the_wheel_includes_each_part_and_each_file_of_the_namespace():
    own = {f"src/matrixinfer/{path.name}" for path in NAMESPACE.iterdir() if is_own(path)}
    assert sorted(WHEEL["only-include"]) == sorted([*PARTS, *own])


def test_the_version_marker_of_types_is_there():
    assert (NAMESPACE / "py.typed").exists()


@pytest.mark.parametrize("with_links", [True, False], ids=["from a checkout", "from a copy without links"])
def test_a_wheel_holds_every_file(tmp_path, with_links):
    copy = copy_of_the_checkout(tmp_path / "copy", with_links=with_links)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=copy,
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        built = [entry for entry in archive.namelist() if ".dist-info/" not in entry]
    assert len(built) == len(set(built))
    assert set(built) == expected_files()


def is_own(path: Path) -> bool:
    return not path.is_symlink() and path.name != "__pycache__"


def copy_of_the_checkout(target: Path, *, with_links: bool) -> Path:
    for path in files():
        place = target / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for part, folder in links().items() if with_links else ():
        (target / "src/matrixinfer" / part).symlink_to(folder)
    return target


def expected_files() -> set[str]:
    """Modules, and what lies beside them: manifests, the marker of types."""
    parts = {"matrixinfer" / path.relative_to(ROOT) for part in PARTS for path in files(ROOT / part)}
    own = {"matrixinfer" / path.relative_to(NAMESPACE) for path in files(NAMESPACE)}
    return {path.as_posix() for path in parts | own}
