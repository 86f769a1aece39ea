"""`starskope-config` and `get_include`: what build systems are told. The library itself is linked in ``.ci/wheel``."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import starskope as sk
from starskope import embedding


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder as a wheel lays it out."""
    for part in ("include/starskope", "lib/cmake/starskope", "lib/pkgconfig"):
        (tmp_path / part).mkdir(parents=True)
    monkeypatch.setattr(embedding, "_PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--includes"], "-I{0}/include"),
        (["--libs"], "-L{0}/lib -lstarskope"),
        (["--includes", "--libs"], "-I{0}/include -L{0}/lib -lstarskope"),
        (["--cmakedir"], "{0}/lib/cmake/starskope"),
        (["--pkgconfigdir"], "{0}/lib/pkgconfig"),
    ],
)
def test_every_question_has_one_line(installed, capsys, arguments, line) -> None:
    assert embedding.main(arguments) == 0
    assert capsys.readouterr().out == line.format(installed) + "\n"


def test_the_include_directory_is_a_public_name(installed) -> None:
    assert sk.get_include() == str(installed / "include")


def test_the_version_is_that_of_the_package(capsys) -> None:
    assert embedding.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == metadata.version("starskope") == sk.__version__


def test_a_copy_without_the_library_says_what_to_do(installed, capsys) -> None:
    (installed / "lib/cmake/starskope").rmdir()
    assert embedding.main(["--libs", "--cmakedir"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert str(installed) in said.err
    assert "cmake --install" in said.err


def test_no_question_is_wrong_use(capsys) -> None:
    assert embedding.main([]) == 2
    assert "usage: starskope-config" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        embedding.main(["--cflags"])
    assert stopped.value.code == 2


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from starskope.embedding import main; main([]); "
        "print(sorted({'numpy', 'asyncio', 'starskope._core', 'astropy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_every_public_header_is_documented() -> None:
    checkout = Path(__file__).resolve().parents[1]
    page = (checkout / "docs" / "cpp.md").read_text()
    headers = sorted((checkout / "cpp" / "include" / "starskope").glob("*.hpp"))
    assert headers
    missing = [header.name for header in headers if f"include/starskope/{header.name}" not in page]
    assert not missing
