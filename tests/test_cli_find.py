"""`starskope find`: frames through an index and without a network, light curves of stars, and what goes to a file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import astroquery.mast
import pytest
from astropy.table import Table
from ffi_index_writer import key_of
from mast_server import MastServer

from starskope.archive import mast_service
from starskope.cli import _parse, main
from starskope.cli_commands import _run_config
from starskope.layout.keys import LightCurveKey

KEPLER = ["kplr011804465-2009131105131_llc.fits", "kplr011804465-2009166043257_llc.fits"]
TESS = ["tess2019198215352-s0014-0000000424865156-0150-s_lc.fits"]
BUCKET = "cli-find"


@pytest.fixture(scope="module")
def where(endpoint) -> list[str]:
    for day in (206, 207):
        for hour in (3, 12):
            endpoint.put(key_of(day, hour).key, b"x" * 50, bucket=BUCKET)
    for name in (*KEPLER, *TESS):
        endpoint.put(LightCurveKey.parse(name).key, b"curve", bucket=BUCKET)
    return ["--endpoint-url", endpoint.url, "--bucket", BUCKET]


@pytest.fixture
def mast(monkeypatch: pytest.MonkeyPatch) -> Iterator[MastServer]:
    monkeypatch.setattr(mast_service, "_POLL_PAUSE_S", 0.01)
    with MastServer() as server, astroquery.mast.conf.set_temp("server", server.url):
        server.add_light_curves("kplr011804465", "1", [*KEPLER, "kplr011804465-2009259160929_llc.fits"])
        server.add_ccd(1, 1, 1, "60825369", [key_of(day, hour).key for day in (206, 207) for hour in (3, 12, 20)])
        yield server


CCD = ["--sector", "1", "--camera", "1", "--ccd", "1"]


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err


def test_an_index_serves_without_a_network(where, tmp_path, capsys) -> None:
    index = ["--index", str(tmp_path / "ffis.parquet")]
    assert main(["find", *CCD, *where, *index]) == 0
    online, _ = lines(capsys)
    assert len(online) == 4
    nowhere = ["--endpoint-url", "http://127.0.0.1:9", "--bucket", BUCKET]
    assert main(["find", *CCD, "--bucket", BUCKET, *index, "--offline"]) == 0
    offline, said = lines(capsys)
    assert offline == online
    assert "note: not asked again" in said
    assert main(["find", *CCD, *nowhere, *index, "--offline"]) == 2
    assert "holds no FFIs" in lines(capsys)[1]
    assert main(["find", *CCD, *where, *index, "--refresh", "--json"]) == 0
    assert [json.loads(line)["size"] for line in lines(capsys)[0]] == [50] * 4


@pytest.mark.parametrize("command", ["download", "stack", "curves", "run"])
def test_other_commands_plan_from_the_index_alone(where, command, tmp_path, capsys) -> None:
    index = ["--index", str(tmp_path / "ffis.parquet")]
    assert main(["find", *CCD, *where, *index]) == 0
    lines(capsys)
    out = str(tmp_path / "out")
    assert main([command, *CCD, "--bucket", BUCKET, *index, "--offline", "--dry-run", "--json", out]) == 0
    assert json.loads(lines(capsys)[0][0])["n_object"] == 4
    assert not Path(out).exists()


def test_objects_are_downloaded_by_the_index_alone(where, tmp_path, capsys) -> None:
    index = ["--index", str(tmp_path / "ffis.parquet")]
    assert main(["find", *CCD, *where, *index]) == 0
    assert main(["download", *CCD, *where, *index, "--offline", str(tmp_path / "ffis")]) == 0
    assert len(list((tmp_path / "ffis").glob("*.fits"))) == 4


def test_the_job_asks_the_archive_as_it_was_told(tmp_path) -> None:
    told = ["--index", "ffis.parquet", "--refresh", "--cache", "answers"]
    config = _run_config(_parse(["run", *CCD, str(tmp_path), *told]), [])
    assert config.archive() | {"index": "ffis.parquet", "refresh": True, "cache": "answers"} == config.archive()
    assert config.settings() == replace(config, index=None, refresh=False, cache=None).settings()


def test_a_damaged_index_is_named_and_left(where, tmp_path, capsys) -> None:
    path = tmp_path / "ffis.parquet"
    path.write_bytes(b"PAR1 but not whole")
    assert main(["find", *CCD, *where, "--index", str(path)]) == 1
    assert f"{path} is not an index of starskope, or damaged" in lines(capsys)[1]
    assert path.read_bytes() == b"PAR1 but not whole"


def test_stars_are_found_by_name_and_go_on_to_download(where, tmp_path, capsys, monkeypatch) -> None:
    assert main(["find", *where, "KIC 11804465", "--json"]) == 0
    rows = [json.loads(line) for line in lines(capsys)[0]]
    assert [row["uri"].rpartition("/")[2] for row in rows] == KEPLER
    assert rows[0]["quarter"] == 0
    assert rows[0]["in_archive"] is None
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(row["uri"] for row in rows)))
    assert main(["download", *where, "-", str(tmp_path / "curves")]) == 0
    assert sorted(path.name for path in (tmp_path / "curves").glob("*.fits")) == KEPLER


def test_stars_come_from_a_file_or_standard_input(where, tmp_path, capsys, monkeypatch) -> None:
    Table({"kepid": [11804465], "tic_id": [424865156]}).write(tmp_path / "stars.csv")
    assert main(["find", *where, "--stars", str(tmp_path / "stars.csv"), "--mission", "tess"]) == 0
    assert TESS[0] in lines(capsys)[0][0]
    monkeypatch.setattr("sys.stdin", io.StringIO("TIC 424865156\nKIC 11804465\n"))
    output = tmp_path / "files.ecsv"
    assert main(["find", "-", *where, "--cadence", "long", "--output", str(output)]) == 0
    assert lines(capsys)[0] == []
    assert [key.rpartition("/")[2] for key in Table.read(output)["key"]] == KEPLER


def test_differences_go_to_a_file(where, mast, tmp_path, capsys) -> None:
    path = tmp_path / "differences.csv"
    arguments = ["--source", "both", "--mission", "kepler", "--differences", str(path)]
    assert main(["find", "KIC 11804465", *where, *arguments, "--cache", str(tmp_path / "cache")]) == 0
    out, said = lines(capsys)
    assert len(out) == 2
    assert "note: 1 light curve(s) of the archive are not in the bucket" in said
    assert Table.read(path)["in_bucket"].tolist() == ["False"]
    assert list((tmp_path / "cache").iterdir())
    assert (
        main(
            ["find", *CCD, *where, "--source", "mast", "--differences", str(path), "--output", str(tmp_path / "x.ecsv")]
        )
        == 0
    )
    assert len(Table.read(path)) == 2


def test_every_format_takes_the_table(where, tmp_path, capsys) -> None:
    for suffix in ("ecsv", "csv", "parquet"):
        output = tmp_path / f"files.{suffix}"
        assert main(["find", "KIC 11804465", *where, "--output", str(output)]) == 0
        assert output.stat().st_size > 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Kepler-90"], "no name of the TIC, KIC or EPIC"),
        (["--light-curves"], "--light-curves needs stars"),
        (["--light-curves", "--sector", "1", "--camera", "all", "--ccd", "1"], "--light-curves needs stars"),
        (["KIC 1", "--stars", "stars.csv"], "give one of them"),
        (["KIC 1", "--index", "i.parquet"], "are for frames"),
        (["--sector", "1", "--mission", "k2"], "are for light curves"),
        (["KIC 1", "--differences", "d.csv"], "add --source mast"),
        (["--sector", "1", "--source", "both"], "expected 's3'"),
        (["--sector", "1", "--offline"], "name one"),
        (["KIC 1", "--output", "d.doc"], "expected a name that ends in"),
        (["--stars", "no-such.csv"], "does not exist"),
    ],
)
def test_wrong_use_is_told(arguments, words, where, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["find", *where, *arguments]) == 2
    assert words in lines(capsys)[1]


def test_a_dry_run_asks_nobody(capsys) -> None:
    nowhere = ["--endpoint-url", "http://127.0.0.1:9", "--dry-run"]
    assert main(["find", "KIC 1", "TIC 2", *nowhere]) == 0
    assert lines(capsys)[0] == ["2 stars: folders of kepler, k2, tess would be listed; nothing else is read"]
