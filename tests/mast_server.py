"""A stand-in for the archive's database on loopback, for tests.

Speaks the JSON of MAST's portal as astroquery's own recordings hold it: column configurations are replayed from the
installed package, answers have the recorded fields, types and paging. Keeps observations, products and TIC stars in
lists, applies filters and cones itself, and can be told to fail: refuse, poll, lose rows, answer with a page of HTML.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

_RECORDED = resources.files("astroquery.mast.tests") / "data"
_CONFIGS = {"Mast.Catalogs.Tess.Cone": "ticcolumns.json"}
_PRODUCT_DEFAULTS = {
    "obs_collection": "TESS",
    "dataproduct_type": "image",
    "description": "FFI",
    "type": "S",
    "productType": "SCIENCE",
    "productGroupDescription": None,
    "productDocumentationURL": None,
    "project": "TESS",
    "prvversion": None,
    "_selected_": None,
}


def recorded(name: str) -> Any:
    return json.loads((_RECORDED / name).read_text())


class MastServer:
    """Use as a context manager; `url` goes to ``astroquery.mast.conf.server``."""

    def __init__(self) -> None:
        self.observations: list[dict[str, Any]] = []
        self.products: dict[str, list[dict[str, Any]]] = {}
        self.stars: list[dict[str, Any]] = []
        self.refusals: deque[tuple[int, dict[str, str]]] = deque()  # (status, headers) for the next invocations
        self.pages_of_html = 0
        self.polls = 0
        self.max_rows: int | None = None  # rows an answer really holds, whatever it says
        self.error: str | None = None
        self.answer_s = 0.0
        self.invocations: list[dict[str, Any]] = []
        self.n_connections = 0
        self.n_at_once = self.max_at_once = 0
        self.n_open = self.max_open = 0
        self._fields = {name: recorded(f"{name}.json")["fields"] for name in ("caom", "products", "tic")}
        self._lock = threading.Lock()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with stand_in._lock:
                    stand_in.n_connections += 1
                    stand_in.n_open += 1
                    stand_in.max_open = max(stand_in.max_open, stand_in.n_open)

            def finish(self) -> None:
                with stand_in._lock:
                    stand_in.n_open -= 1
                super().finish()

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with stand_in._lock:
                    stand_in.n_at_once += 1
                    stand_in.max_at_once = max(stand_in.max_at_once, stand_in.n_at_once)
                try:
                    time.sleep(stand_in.answer_s)
                    status, headers, answer = stand_in._answer(self.path, parse_qs(body))
                finally:
                    with stand_in._lock:
                        stand_in.n_at_once -= 1
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add_ccd(self, sector: int, camera: int, ccd: int, obsid: str, keys: list[str], kind: str = "FFIC") -> None:
        """Add one observation with a product per key, as the archive names them."""
        name = f"tess-s{sector:04d}-{camera}-{ccd}"
        row = {**dict.fromkeys(field["name"] for field in self._fields["caom"]), "obs_id": name, "obsid": int(obsid)}
        self.observations.append({**row, "obs_collection": "TESS", "target_name": "TESS FFI"})
        for key in keys:
            file = key.rpartition("/")[2]
            product = {
                **_PRODUCT_DEFAULTS,
                "obsID": int(obsid),
                "obs_id": file[:24],
                "dataURI": key if key.startswith("mast:") else f"mast:TESS/product/{file}",
                "productSubGroupDescription": kind,
                "productFilename": file,
                "size": 35553600,
            }
            self.products.setdefault(obsid, []).append(product)

    def add_light_curves(self, target: str, obsid: str, files: list[str], *, others: tuple[str, ...] = ()) -> None:
        """Add one observation of a star (``kplr011804465``, ``ktwo206089508``, ``25155310``) with its products.

        Every mission's light curves carry their own productSubGroupDescription; `others` are products beside them.
        """
        collection = "Kepler" if target.startswith("kplr") else "K2" if target.startswith("ktwo") else "TESS"
        row = dict.fromkeys(field["name"] for field in self._fields["caom"])
        self.observations.append(
            {
                **row,
                "obs_collection": collection,
                "dataproduct_type": "timeseries",
                "project": collection,
                "target_name": target,
                "obs_id": files[0].removesuffix(".fits") if files else target,
                "obsid": int(obsid),
            }
        )
        for name in (*files, *others):
            ending = name.removesuffix(".fits").rpartition("_")[2]
            kind = {"llc": "LLC", "slc": "SLC", "lc": "LC", "fast-lc": "FAST-LC"}.get(ending, "DVT")
            where = "TESS/product/" if collection == "TESS" else f"{collection.upper()}/url/missions/.../"
            product = {
                **_PRODUCT_DEFAULTS,
                "obs_collection": collection,
                "project": collection,
                "dataproduct_type": "timeseries",
                "description": "Light curves",
                "obsID": int(obsid),
                "obs_id": target,
                "dataURI": f"mast:{where}{name}",
                "productSubGroupDescription": kind,
                "productFilename": name,
                "size": 1000,
            }
            self.products.setdefault(obsid, []).append(product)

    def add_star(self, tic_id: int, ra: float, dec: float, tmag: float, **columns: Any) -> None:
        """Add one row of the TIC."""
        row = dict.fromkeys(field["name"] for field in self._fields["tic"])
        self.stars.append({**row, "ID": tic_id, "ra": ra, "dec": dec, "Tmag": tmag, "objType": "STAR", **columns})

    def _answer(self, path: str, form: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/columnsconfig"):
            return 200, {}, _bytes(recorded(_CONFIGS.get(form["colConfigId"][0], "columnsconfig.json")))
        if path != "/api/v0/invoke":
            return 404, {}, b"no such service"
        request = json.loads(form["request"][0])
        if request["service"] == "Mast.Catalogs.All.Tic":
            return 200, {}, _bytes(recorded("ticcolumns_filtered.json"))
        with self._lock:
            self.invocations.append(request)
            if self.refusals:
                status, headers = self.refusals.popleft()
                return status, headers, b"try later"
            if self.pages_of_html:
                self.pages_of_html -= 1
                return 200, {"Content-Type": "text/html"}, b"<html>Down for maintenance</html>"
            if self.polls:
                self.polls -= 1
                return 200, {}, _bytes({"status": "EXECUTING", "msg": "", "data": []})
        if self.error is not None:
            return 200, {}, _bytes({"status": "ERROR", "msg": self.error})
        return 200, {}, _bytes(self._page(request))

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        kind, rows = self._rows(request["service"], request["params"])
        size, page = request["pagesize"], request["page"]
        held = rows if self.max_rows is None else rows[: self.max_rows]
        here = held[(page - 1) * size : page * size]
        paging = {
            "page": page,
            "pageSize": size,
            "pagesFiltered": max(1, -(-len(rows) // size)),
            "rows": len(here),
            "rowsFiltered": len(rows),
            "rowsTotal": len(rows),
        }
        return {"status": "COMPLETE", "msg": "", "data": here, "fields": self._fields[kind], "paging": paging}

    def _rows(self, service: str, params: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        if service == "Mast.Caom.Filtered":
            return "caom", [row for row in self.observations if _passes(row, params["filters"])]
        if service == "Mast.Caom.Products":
            return "products", [row for obsid in params["obsid"].split(",") for row in self.products.get(obsid, [])]
        if service == "Mast.Catalogs.Filtered.Tic.Position.Rows":
            near = [row for row in self.stars if _angle(row, params["ra"], params["dec"]) <= params["radius"]]
            return "tic", [row for row in near if _passes(row, params["filters"])]
        if service == "Mast.Catalogs.Filtered.Tic.Rows":
            return "tic", [row for row in self.stars if _passes(row, params["filters"])]
        raise AssertionError(f"the stand-in knows no service {service!r}")


def _bytes(answer: Any) -> bytes:
    return json.dumps(answer).encode()


def _passes(row: dict[str, Any], filters: list[dict[str, Any]]) -> bool:
    for entry in filters:
        value = row[entry["paramName"]]
        first = entry["values"][0]
        if isinstance(first, dict):
            if value is None or not first["min"] <= value <= first["max"]:
                return False
        elif str(value) not in entry["values"]:
            return False
    return True


def _angle(row: dict[str, Any], ra: float, dec: float) -> float:
    """Angle by the haversine, in degrees: another formula than the one under test."""
    half_dec = math.sin(math.radians(row["dec"] - dec) / 2) ** 2
    half_ra = math.sin(math.radians(row["ra"] - ra) / 2) ** 2
    across = math.cos(math.radians(dec)) * math.cos(math.radians(row["dec"])) * half_ra
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half_dec + across))))
