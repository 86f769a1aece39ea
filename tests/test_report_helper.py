"""Parts of the page that another process makes: the same bytes, whatever becomes of that process."""

from __future__ import annotations

from pathlib import Path

import pytest
from product_folder import inputs, transiting, write_run, write_signals

from starskope.errors import FrameError
from starskope.report.folder import RunFolder
from starskope.report.helper import PARTS, PageHelper
from starskope.report.page import rebuild_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    stack, curves = transiting()
    frames = [{"name": f"f{k}", "time": t, "status": "stacked", "reason": ""} for k, t in enumerate(curves.time)]
    run = {**inputs()[3], "identity": {"flatten_window": 0.75, "period_min": 0.5, "period_max": None}}
    write_run(made, stack, curves, frames, run)
    write_signals(made, stack, curves)
    return made


def test_the_page_has_the_same_bytes(folder: Path) -> None:
    run = RunFolder(folder).run
    with PageHelper(folder, 2) as helper:
        for part in PARTS:
            helper.ask(part, run)
        page = rebuild_page(folder, helper)
        assert helper._process is not None
        assert helper._process.poll() is None, "it ended before it was told to"
    assert helper._process.returncode is not None
    assert page == rebuild_page(folder)


def test_both_ends_agree_on_what_was_made(folder: Path) -> None:
    products = RunFolder(folder)
    with PageHelper(folder, 2) as helper:
        helper.ask("observed", products.run)
        asked = dict(helper._asked)
        assert helper.answer("observed", products) == PARTS["observed"](products)
    assert asked["observed"].result().endswith(b"\n")
    assert asked["observed"].result() != b"{}\n"


def test_a_process_that_dies_is_not_missed(folder: Path) -> None:
    products = RunFolder(folder)
    with PageHelper(folder, 2) as helper:
        helper.ask("observed", products.run)
        assert helper._process is not None
        helper._process.kill()
        helper.ask("learned", products.run)
        assert rebuild_page(folder, helper) == rebuild_page(folder)


def test_one_worker_starts_no_process(folder: Path) -> None:
    products = RunFolder(folder)
    with PageHelper(folder, 1) as helper:
        helper.ask("observed", products.run)
        assert helper._process is None
        assert helper.answer("observed", products)["html"]


def test_what_is_damaged_is_told_by_who_asked(folder: Path, tmp_path: Path) -> None:
    products = RunFolder(folder)
    broken = tmp_path / "broken"
    broken.mkdir()
    for product in folder.iterdir():
        (broken / product.name).symlink_to(product)
    (broken / "stack.fits").unlink()
    (broken / "stack.fits").write_bytes(b"no stack")
    with PageHelper(broken, 2) as helper:
        helper.ask("observed", products.run)
        with pytest.raises(FrameError, match=r"stack\.fits"):
            rebuild_page(broken, helper)
