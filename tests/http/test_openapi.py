"""The description of the API, and the page that shows it."""

from __future__ import annotations

import re

import httpx2

from f5_worker.schema.actions import ACTIONS


def test_the_description_has_every_field_and_resolves(client: httpx2.Client) -> None:
    described = client.get("/openapi.json").json()
    text = client.get("/openapi.json").text
    schemas = described["components"]["schemas"]
    for name in set(re.findall(r"#/components/schemas/(\\w+)", text)):
        assert name in schemas
    body = described["paths"]["/v1/synthesize"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert set(ACTIONS["synthesize"].model_fields) == set(schemas["SynthesizeInput"]["properties"])
    assert schemas["SynthesizeInput"]["properties"]["text"]["description"]
    assert "base64" in schemas["AudioResponse"]["properties"]
    speech = described["paths"]["/v1/text-to-speech/{voice}/stream"]["post"]
    assert set(speech["requestBody"]["content"]) == {"application/json"}
    assert {each["name"] for each in speech["parameters"]} == {"voice", "output_format"}
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert "default" in operation["responses"]


def test_the_page_asks_no_other_host(client: httpx2.Client) -> None:
    page = client.get("/docs").text
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert addresses
    for address in addresses:
        assert address.startswith("/")
        assert client.get(address).status_code == 200
    assert 'validatorUrl": null' in page
