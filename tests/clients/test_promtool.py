"""The metrics, as Prometheus' own tool judges them."""

import requests


def test_the_metrics_are_clean(tool, vitrine):
    image = vitrine.create()["id"]
    vitrine.upload(image, b"some data")
    vitrine.get(f"/v2/images/{image}/file")
    vitrine.get("/v2/images/nothing")
    text = requests.get(f"{vitrine.admin_url}/metrics", timeout=30).text
    assert "vitrine_" in text
    # Prints what it would have different, and fails on that.
    assert tool("promtool", "check", "metrics", input=text.encode()) == ""
