"""The walls of the house, read from the source: who may import whom, who may await, who may start threads.

Every rule is a function from a source file to complaints. The tree must raise none, and for every rule a synthetic
offender shows that the rule can fail.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[1]
_PACKAGE = _CHECKOUT / "src" / "starskope"

# In the order in which light travels: a room may import rooms that stand before it.
ROOMS = ["layout", "transfer", "archive", "frames", "curves", "synth", "search", "learn", "report", "job", "cli"]
# Single modules at the top of the package belong to a room too.
_JOB = (
    *("arrivals", "completeness", "conclusions", "demo", "estimates", "framelist", "injections", "job", "journal"),
    *("learning", "outcome", "plan", "products", "progress", "publishing", "runconfig", "signals", "starblocks"),
)
_CLI = (
    *("cli", "cli_commands", "cli_cutouts", "cli_find", "cli_inject", "cli_join", "cli_learn", "cli_outcome"),
    *("cli_output", "cli_search", "cli_spectra", "cli_words", "installation"),
    "__main__",
)
TOP_MODULES = {**dict.fromkeys(_JOB, "job"), **dict.fromkeys(_CLI, "cli")}

_CUTOUTS = {f"frames/cutout_{part}.py" for part in ("call", "ccds", "frames", "pixels", "tasks")}
MAY_AWAIT = {
    "frames/beside.py",
    "frames/decoding.py",
    "frames/sources.py",
    "frames/stream.py",
    *_CUTOUTS,
    "frames/cutouts.py",
    "curves/extract.py",
    "job.py",
}
MAKES_LOOPS = {"transfer/facade.py"}
MAKES_COMPUTE_WORKERS = {"parallel.py"}
RUNS_A_SERVER = {"synth/endpoint.py"}

_LOOP_MAKERS = {"asyncio.run", "asyncio.new_event_loop", "asyncio.Runner", "threading.Thread"}
_WORKER_MAKERS = {"ThreadPoolExecutor", "ProcessPoolExecutor", "Pool", "Process", "to_thread"}


def _room_of(path: str) -> str | None:
    head = path.split("/", maxsplit=1)[0].removesuffix(".py")
    return head if head in ROOMS else TOP_MODULES.get(head)


def _imports(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    package = ["starskope", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def imports_go_one_way(path: str, source: str) -> Iterator[str]:
    room = _room_of(path)
    for line, name in _imports(ast.parse(source), path):
        parts = name.split(".")
        if parts[0] != "starskope" or len(parts) < 2:
            continue
        target = parts[1] if parts[1] in ROOMS else TOP_MODULES.get(parts[1])
        if target is None:
            continue
        if room is None and path != "__init__.py":
            yield f"{path}:{line}: the foundation imports {name}"
        elif room is not None and ROOMS.index(target) > ROOMS.index(room):
            yield f"{path}:{line}: {room} imports {name}, which comes after it"


def only_transfer_speaks_s3(path: str, source: str) -> Iterator[str]:
    for line, name in _imports(ast.parse(source), path):
        if name.split(".")[0] in {"aiobotocore", "aiohttp"} and not path.startswith("transfer/"):
            yield f"{path}:{line}: imports {name} outside transfer/"


def only_few_await(path: str, source: str) -> Iterator[str]:
    if path in MAY_AWAIT or path.startswith(("transfer/", "archive/")):
        return
    waiting = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, waiting):
            yield f"{path}:{node.lineno}: awaits"


def only_the_facade_makes_loops(path: str, source: str) -> Iterator[str]:
    for line, name in _calls(ast.parse(source)):
        if name in _LOOP_MAKERS and path not in MAKES_LOOPS:
            yield f"{path}:{line}: calls {name}"


def only_parallel_makes_workers(path: str, source: str) -> Iterator[str]:
    if path in MAKES_COMPUTE_WORKERS | RUNS_A_SERVER:
        return
    for line, name in _calls(ast.parse(source)):
        last = name.split(".")[-1]
        # A blocking library call may leave the loop's thread where waiting is the business of the room.
        if last == "to_thread" and path.startswith(("transfer/", "archive/")):
            continue
        if last in _WORKER_MAKERS or name.startswith("multiprocessing."):
            yield f"{path}:{line}: calls {name}"


def no_unsafe_arithmetic_or_pickle(path: str, source: str) -> Iterator[str]:
    for line, name in _imports(ast.parse(source), path):
        if name.split(".")[0] in {"pickle", "dill", "joblib", "shelve"}:
            yield f"{path}:{line}: imports {name}"
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.keyword) and node.arg in {"fastmath", "parallel", "allow_pickle"}):
            continue
        if ast.unparse(node.value) != "False":
            yield f"{path}:{node.value.lineno}: {node.arg}={ast.unparse(node.value)}"


def modules_have_one_job(path: str, source: str) -> Iterator[str]:
    if Path(path).stem in {"utils", "util", "common", "helpers", "base", "misc"}:
        yield f"{path}: the name says nothing"
    if (n_line := source.count("\n")) > 400:
        yield f"{path}: {n_line} lines"
    if not ast.get_docstring(ast.parse(source)):
        yield f"{path}: no module docstring"


RULES = {
    imports_go_one_way: ("frames/decode.py", '"""d"""\nfrom starskope.curves import container\n'),
    only_transfer_speaks_s3: ("archive/ffis.py", '"""d"""\nfrom aiobotocore.session import get_session\n'),
    only_few_await: ("frames/stack.py", '"""d"""\nasync def stack_async():\n    await x\n'),
    only_the_facade_makes_loops: ("job.py", '"""d"""\nimport asyncio\nasyncio.run(main())\n'),
    only_parallel_makes_workers: ("frames/stack.py", '"""d"""\npool = ThreadPoolExecutor(2)\n'),
    no_unsafe_arithmetic_or_pickle: ("curves/bin.py", '"""d"""\nk = numba.njit(f, fastmath=True)\n'),
    modules_have_one_job: ("frames/utils.py", '"""d"""\n'),
}


def _modules() -> list[Path]:
    return sorted(_PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_walls(rule) -> None:
    complaints = [c for module in _modules() for c in rule(module.relative_to(_PACKAGE).as_posix(), module.read_text())]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("rule", "offender"), RULES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_rule_can_fail(rule, offender) -> None:
    assert list(rule(*offender))


@pytest.mark.parametrize(
    "source",
    ["from ..curves import container", "import starskope.curves.container", "from starskope import curves"],
)
def test_every_spelling_of_an_import_is_seen(source: str) -> None:
    assert list(imports_go_one_way("frames/decode.py", source))


def _includes_pybind11(text: str) -> bool:
    return re.search(r"#\s*include\s*[<\"](pybind11|Python\.h|numpy)", text) is not None


def test_only_the_bindings_know_python() -> None:
    sources = [p for p in (_CHECKOUT / "cpp").rglob("*") if p.suffix in {".cpp", ".hpp", ".h"}]
    offenders = [
        p.relative_to(_CHECKOUT) for p in sources if "bindings" not in p.parts and _includes_pybind11(p.read_text())
    ]
    assert sources
    assert not offenders
    assert _includes_pybind11("# include <pybind11/numpy.h>")


def test_no_module_beside_the_rooms_has_the_name_of_a_public_function() -> None:
    import starskope

    top = {p.stem for p in _PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert not top & set(starskope.__all__)
