"""Where the C++ core of an installed wheel lies, for projects that link it.

Owns `get_include` and the command `starskope-config`. Refuses to import anything: build systems call it often. A
checkout that runs in place carries no library; ``cmake --install`` of the C++ project makes one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["get_include", "main"]

_PACKAGE = Path(__file__).parent
_PARTS = {
    "include": Path("include"),
    "lib": Path("lib"),
    "cmake": Path("lib", "cmake", "starskope"),
    "pkgconfig": Path("lib", "pkgconfig"),
}


def get_include() -> str:
    """Return the directory to compile against: it holds ``starskope/view.hpp`` and the other headers.

    Raises
    ------
    FileNotFoundError
        This copy of starskope runs from a checkout and carries no headers.
    """
    return _directory("include")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``starskope-config`` and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands after the command; default: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="starskope-config",
        description="Tell compilers and build systems where the C++ library is. Several options make one line.",
        epilog="g++ -std=c++20 program.cpp $(starskope-config --includes --libs)",
    )
    add = parser.add_argument
    add("--includes", dest="asked", action="append_const", const=_includes, help="compiler option for the headers")
    add("--libs", dest="asked", action="append_const", const=_libs, help="linker options")
    add("--cmakedir", dest="asked", action="append_const", const=_cmakedir, help="directory for starskope_DIR")
    add("--pkgconfigdir", dest="asked", action="append_const", const=_pkgconfigdir, help="for PKG_CONFIG_PATH")
    add("--version", dest="asked", action="append_const", const=_version, help="version of the library")
    asked = parser.parse_args(arguments).asked
    if not asked:
        parser.print_usage(sys.stderr)
        return 2
    try:
        line = " ".join(answer() for answer in asked)
    except FileNotFoundError as error:
        print(f"starskope-config: {error}", file=sys.stderr)
        return 1
    print(line)
    return 0


def _directory(part: str) -> str:
    directory = _PACKAGE / _PARTS[part]
    if not directory.is_dir():
        raise FileNotFoundError(
            f"{directory}: not there: this copy of starskope runs from a checkout; install the package, "
            "or the C++ project alone with cmake --install"
        )
    return str(directory)


def _includes() -> str:
    return f"-I{get_include()}"


def _libs() -> str:
    return f"-L{_directory('lib')} -lstarskope"


def _cmakedir() -> str:
    return _directory("cmake")


def _pkgconfigdir() -> str:
    return _directory("pkgconfig")


def _version() -> str:
    from importlib import metadata

    return metadata.version("starskope")
