"""The page as files: what is served, with which headers, and that nothing in it leads to another host."""

from __future__ import annotations

import re

import httpx2
import pytest

from f5_worker.http.routes.page import DIRECTORY
from f5_worker.synthesis.context import Worker
from tests.http.conftest import running

FILES = sorted(path.name for path in DIRECTORY.iterdir())
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.js")}
NAMESPACE = "http://www.w3.org/2000/svg"


def test_the_page_is_public_and_its_calls_are_not(worker: Worker) -> None:
    with running(worker, api_key="secret-1") as server, httpx2.Client(base_url=server.url) as client:
        assert client.get("/").status_code == 200
        assert client.head("/").status_code == 200
        assert client.get("/page/main.js").status_code == 200
        assert client.get("/v1/voices").status_code == 401


def test_it_is_there_while_the_model_loads() -> None:
    with running(None) as server, httpx2.Client(base_url=server.url) as client:
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES)])
def test_each_file_is_kept_by_browsers_and_runs_nothing_else(client: httpx2.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    kinds = {"js": "javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert kinds.get(path.rpartition(".")[2], "text/html") in response.headers["content-type"]
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert {policy[kind] for kind in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    same = client.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["cache-control"] == "no-cache"


def test_what_is_not_there_is_said_as_elsewhere(client: httpx2.Client) -> None:
    for path in ("/page/nothing.js", "/page/..%2fapp.py", "/page/"):
        response = client.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert client.post("/", json={}).status_code == 405


def test_no_file_names_another_host_or_what_the_policy_forbids() -> None:
    for path in DIRECTORY.iterdir():
        text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
        assert not re.search(r"(?:https?:)?//[\w-]+\.\w", text), path.name
        assert not re.search(r"\son\w+=\"|\sstyle=\"|<style|<script>|\beval\(|new Function|innerHTML", text), path.name


def test_all_that_is_named_is_there_and_all_that_is_there_is_named() -> None:
    page = (DIRECTORY / "index.html").read_text(encoding="utf-8")
    named = {address.removeprefix("page/") for address in re.findall(r"(?:src|href)=\"(page/[^\"]+)\"", page)}
    for text in SCRIPTS.values():
        named |= set(re.findall(r"from \"\./([^\"]+)\"", text))
    assert named | {"index.html"} == set(FILES)
    ids = re.findall(r"\bid=\"([^\"]+)\"", page)
    assert len(ids) == len(set(ids))
    for name, text in SCRIPTS.items():
        for sought in re.findall(r"\$\(\"([^\"]+)\"\)", text):
            assert sought in ids, f"{name} asks for #{sought}"
    for target in re.findall(r"(?:\bfor|aria-labelledby|aria-describedby)=\"([^\"]+)\"", page):
        assert target in ids
