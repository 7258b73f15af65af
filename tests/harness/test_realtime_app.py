import tomllib
import zipfile

from harness.realtime.app import build_app


def test_the_app_has_what_core_asks_for(tmp_path):
    with zipfile.ZipFile(build_app(tmp_path)) as app:
        assert app.testzip() is None
        assert tomllib.loads(app.read("manifest.toml").decode()) == {"name": "dc-harness realtime"}
        assert b"<!DOCTYPE html>" in app.read("index.html")


def test_the_same_app_has_the_same_bytes(tmp_path):
    assert build_app(tmp_path).read_bytes() == build_app(tmp_path).read_bytes()
