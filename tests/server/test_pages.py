from __future__ import annotations

import asyncio
import json
import re
import shutil
from importlib import resources

import pytest

from tests.patience import HANG
from tests.server.conftest import problem

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOADS = re.compile(
    r"""(?:src|href|srcset|action|data)\s*=\s*["']?(?:https?:)?//|@import\s|(?<!new )url\(\s*["']?(?:https?:)?//"""
    r"""|importScripts\(\s*["'](?:https?:)?//|\bimport\(\s*["'](?:https?:)?//|\bsrc:\s*["'](?:https?:)?//""",
    re.IGNORECASE,
)


def files(*folders):
    server = resources.files("stepwell.server")
    return {entry.name: entry for folder in folders for entry in server.joinpath(folder).iterdir()}


@pytest.mark.rows("D5")
@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_and_all_that_it_loads_come_from_this_server(http, page):
    answer = await http.get(page)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert not LOADS.search(answer.text)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assets = [name for name in loaded if name.startswith("assets/")]
    assert set(loaded) - set(assets) == {"data:,"}
    for name in assets:
        found = await http.get(f"/{name}")
        assert found.status_code == 200
        assert found.headers["content-type"].startswith(("text/javascript", "text/css"))


@pytest.mark.rows("D5")
def test_no_asset_names_a_foreign_host_to_load_from():
    for name, entry in files("assets", "scripts").items():
        if not name.endswith(".txt"):
            found = LOADS.search(entry.read_text(encoding="utf-8"))
            assert found is None, f"{name}: {found}"


def test_the_licences_of_the_pages_come_with_them():
    texts = {name: entry.read_text(encoding="utf-8") for name, entry in files("assets").items() if "LICENSE" in name}
    assert "Apache License" in texts["swagger-ui.LICENSE.txt"]
    assert "The MIT License" in texts["redoc.LICENSE.txt"]
    assert {"swagger-ui-bundle.js.LICENSE.txt", "redoc.standalone.js.LICENSE.txt"} <= texts.keys()


async def test_no_other_file_is_served(http):
    for name in ("app.py", "..%2Fapp.py", "%2Fetc%2Fpasswd", "nothing.js", "redoc.standalone.js.map"):
        problem(await http.get(f"/assets/{name}"), 404)


@pytest.mark.rows("D5")
async def test_the_description_names_every_operation_and_how_errors_are_told(http):
    answer = await http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json"
    described = answer.json()
    assert described["openapi"].startswith("3.1")
    operations = [operation for item in described["paths"].values() for operation in item.values()]
    assert {"start", "submit", "trigger", "health", "approve"} <= {found["operationId"] for found in operations}
    for operation in operations:
        assert operation["description"]
        assert "For " in operation["description"]
        assert list(operation["responses"]["4XX"]["content"]) == ["application/problem+json"]
    assert described["components"]["schemas"]["Problem"]["properties"]["remedy"]
    assert "/openapi.json" not in described["paths"]


@pytest.mark.rows("D5")
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize(
    ("page", "shown"), [("/docs", 'class="opblock-summary-path'), ("/redoc", 'id="tag/instances/operation/approve"')]
)
async def test_a_real_browser_without_a_network_shows_the_operations(http, tmp_path, page, shown):
    chromium = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        "--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom", f"{str(http.base_url).rstrip('/')}{page}",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(chromium.communicate(), HANG)
    finally:
        if chromium.returncode is None:
            chromium.kill()
            await chromium.wait()
    dom, said = out.decode(), err.decode()
    assert shown in dom, said[-2000:]
    assert "/v1/instances/{instance_id}/approve" in re.sub(r"\u200b|<[^>]*>", "", dom)
    refused = [line for line in said.splitlines() if "CONSOLE" in line and ("Refused" in line or "violates" in line)]
    assert refused == []


async def test_what_the_page_fills_in_by_itself_is_taken_by_every_route_that_reads(http):
    """Swagger UI fills in examples and defaults, and makes up an object where there is neither."""
    described = (await http.get("/openapi.json")).json()
    tried = 0
    for path, operations in described["paths"].items():
        get = operations.get("get")
        if get is None or path.endswith(("/events", "/batch")):  # a stream has no end; an instance has to be there
            continue
        filled, needs = {}, False
        for parameter in get.get("parameters", ()):
            schema = parameter.get("schema", {})
            needs = needs or parameter.get("required", False)
            example = parameter.get("example", schema.get("example", schema.get("default")))
            if schema.get("type") == "object":
                assert example is not None, f"{path}: {parameter['name']} would be made up"
                filled |= example
            elif example is not None and parameter["in"] == "query":
                filled[parameter["name"]] = json.dumps(example) if not isinstance(example, str) else example
        if not needs:
            tried += 1
            answer = await http.get(path, params=filled)
            assert answer.status_code == 200, f"{path} {filled}: {answer.text}"
    assert tried > 5


async def test_an_output_may_be_anything_and_is_described_so(http):
    """Whatever a handler may return: a type that the description gave it would be wrong for some workflow."""
    described = (await http.get("/openapi.json")).json()["components"]["schemas"]
    outputs = {name: schema["properties"]["output"] for name, schema in described.items()
               if "output" in schema.get("properties", {})}  # fmt: skip
    assert any(name.startswith("InstanceView") for name in outputs)
    assert {name for name, output in outputs.items() if "type" in output or "$ref" in output} == set()
    names = [name for name in described if not name.replace("_", "").isalnum()]
    assert not names
