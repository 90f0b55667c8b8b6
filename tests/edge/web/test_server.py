"""What serves the page, and what it is made of."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from edge.arguments import FREE_MODEL
from edge.web import __main__ as web
from edge.web import site, vendor
from tfau.core import AUSet


def test_the_site_is_whole_or_not_there(tmp_path, monkeypatch):
    files = {"files.js": b"const FILES = [];", "a/b.js": b"1"}
    site.write_site(tmp_path / "site", files)
    site.write_site(tmp_path / "site", {**files, "c.js": b"2"})
    assert (tmp_path / "site" / "c.js").read_bytes() == b"2"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="must name a new folder"):
        site.write_site(tmp_path / "mine", files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"]


def test_only_the_pinned_runtime_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "_fetch", lambda _: b"something else")
    with pytest.raises(ValueError, match="is not the one that tfau was tested with"):
        vendor.runtime_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ImportError, match="npm is needed once"):
        vendor.runtime_files(tmp_path)


def test_the_server_hands_out_the_site_and_nothing_else(address, folder):
    from urllib.error import HTTPError
    from urllib.request import urlopen

    (folder / "secret.txt").write_text("not for you")
    with urlopen(address) as answer:  # noqa: S310
        for name, value in web.HEADERS.items():
            assert answer.headers[name] == value
    for path in ("given/", "../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "nothing.js"):
        with pytest.raises(HTTPError, match="404"):
            urlopen(address + path)  # noqa: S310


def test_over_https_the_page_is_the_same(folder, address):
    import ssl
    from urllib.request import urlopen

    pytest.importorskip("cryptography")
    with web.make_server("127.0.0.1", 0, folder) as server:
        web.secure(server, folder)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        port = server.server_address[1]
        with urlopen(f"https://127.0.0.1:{port}/app.js", context=trusting) as answer:
            content = answer.read()
        server.shutdown()
    assert content == (site.PAGE / "app.js").read_bytes()
    assert not list(folder.glob("*.pem"))


def test_tables_are_pythons():
    tables = site.tables()
    aus = AUSet(tables["UNITS"])
    assert [p for unit in tables["UNITS"].values() for p in unit["points"]] == list(aus.point_names)
    assert json.loads(json.dumps(tables))["VERSION"]


def test_the_command_serves_until_ctrl_c(tmp_path):
    import signal
    import subprocess
    import sys
    from urllib.request import urlopen

    command = [sys.executable, "-m", "edge.web", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = server.stdout.readline().strip()
        assert server.stdout.readline() == "Ctrl-C ends it.\n"
        with urlopen(f"{address}models/model.tflite") as answer:  # noqa: S310
            assert answer.read() == FREE_MODEL.read_bytes()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "nothing.tflite"], "There is no model file at nothing.tflite."),
        (["--model", __file__, "--export", "site"], "is not a TFLite model."),
        (["--port", "70000"], "`--port` must be 0 to 65535. Received: --port=70000"),
        (["--export", "."], "`--export` must name a new folder, or one it made. Received: ."),
    ],
)
def test_a_wrong_word_gets_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    from tfau.core.errors import run_cli

    (tmp_path / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert run_cli(lambda _: web.main(words)) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_port_that_is_taken_is_named(address):
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(OSError, match="cannot be listened on"):
        web.make_server("127.0.0.1", port, Path())


def test_the_bench_films_and_weighs(tmp_path, photo):
    from tfau.bench import web_contender

    web_contender.write_film(str(photo), tmp_path / "film.y4m")
    film = (tmp_path / "film.y4m").read_bytes()
    head, frame = film.index(b"\n") + 1, 6 + 640 * 480 * 3 // 2
    assert film.startswith(b"YUV4MPEG2 W640 H480 F30:1")
    assert (len(film) - head) / frame == 100 + 98  # there and back
    raw, packed = web_contender.weigh(str(FREE_MODEL))
    assert FREE_MODEL.stat().st_size < packed < raw < 20e6
