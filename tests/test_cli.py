"""The front door: every command leads somewhere, and a wrong word gets one sentence."""

import errno
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tfau import __version__, cli, doctor
from tfau.core.errors import MissingExtra, run_cli
from tfau.doctor import Finding


def tfau(*words: str) -> "subprocess.CompletedProcess[str]":
    """Runs the console script's function as a shell would."""
    code = "import sys; from tfau.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_has_a_line_for_every_command(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["tfau", *words])
    assert cli.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(cli.COMMANDS)


def test_version() -> None:
    done = tfau("--version")
    assert (done.returncode, done.stdout) == (0, f"tfau {__version__}\n")


def test_every_command_leads_to_a_module() -> None:
    missing = [name for name, command in cli.COMMANDS.items() if not find_spec(command.module)]
    assert missing == []


def test_unknown_command_gets_one_sentence() -> None:
    done = tfau("trian")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "COMMAND=trian. Did you mean train?" in line


def test_words_behind_the_command_reach_its_module() -> None:
    done = tfau("doctor", "--jsom")
    assert done.returncode == 2
    assert "--jsom" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_extra_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_without_keras(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'keras'", name="keras.ops")

    monkeypatch.setattr(cli.runpy, "run_module", run_without_keras)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["tfau"])
    with pytest.raises(MissingExtra, match=r"keras .* `pip install 'tfau\[train\]'`"):
        cli.hand_over(["train"])


def test_what_the_system_refuses_is_said_without_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run_cli(full) == 2
    assert capsys.readouterr().err == "tfau: No space left on device\n"
    assert run_cli(lambda _: len((tmp_path / "none").read_text())) == 2
    assert capsys.readouterr().err == f"tfau: No such file or directory: {tmp_path}/none\n"


def test_missing_module_of_no_extra_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_broken(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'tfau.trian'", name="tfau.trian")

    monkeypatch.setattr(cli.runpy, "run_module", run_broken)
    monkeypatch.setattr(sys, "argv", ["tfau"])
    with pytest.raises(ModuleNotFoundError, match=r"tfau\.trian"):
        cli.hand_over(["train"])


def test_doctor_answers_in_json_and_text() -> None:
    done = tfau("doctor", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["tfau"] == __version__
    assert answer["packages"]["numpy"]["usable"]
    assert answer["found"]["face mesh"] == {"usable": True, "text": "LiteRT, models intact"}
    assert answer["jobs"]["camera"]["text"].startswith("ready: ")
    text = tfau("doctor").stdout
    assert all(name in text for name in (*answer["found"], *answer["jobs"]))


def test_doctor_names_the_extra_that_a_job_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "versions", lambda names: {name: "" if name == "tyro" else "x 1" for name in names}
    )
    monkeypatch.setattr(doctor, "ask", lambda code: Finding(True, "numpy"))
    jobs = doctor.examine()["jobs"]
    assert jobs["train"] == Finding(False, "missing: pip install 'tfau[train]'")
    assert jobs["export"].usable
    assert jobs["camera"].usable


def test_doctor_does_not_call_a_job_ready_when_the_face_models_are_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "find_face_mesh", lambda: Finding(False, "damaged"))
    jobs = doctor.examine()["jobs"]
    assert jobs["photo, video"] == Finding(False, "missing: face mesh (see above)")


def test_doctor_warns_of_two_opencv_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.metadata.packages_distributions",
        lambda: {"cv2": ["opencv-python", "opencv-contrib-python"]},
    )
    monkeypatch.setattr("importlib.metadata.version", lambda name: "5.0")
    finding = doctor.find_opencv()
    assert not finding.usable
    assert "more than one: opencv-contrib-python 5.0, opencv-python 5.0" in finding.text


@pytest.mark.parametrize(
    ("answer", "usable"),
    [(Finding(True, "1"), True), (Finding(True, "0"), False), (Finding(False, "crash"), False)],
)
def test_doctor_counts_the_gpus_that_a_framework_sees(
    answer: Finding, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "jax" or None)
    monkeypatch.setattr(doctor, "ask", lambda code: answer)
    assert doctor.find_gpu() == (
        usable,
        f"NVIDIA driver present; jax sees {answer.text}",
    )


@pytest.mark.parametrize(
    ("machine", "features", "usable"),
    [
        ("aarch64", "fp asimd evtstrm crc32", False),
        ("aarch64", "fp asimd atomics", True),
        ("x86_64", "", True),
    ],
)
def test_doctor_keeps_mediapipe_off_a_raspberry_pi_4(
    machine: str, features: str, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "versions", lambda names: {"mediapipe": "mediapipe 1.2.2"})
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("pathlib.Path.exists", lambda path: True)
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: features)
    assert doctor.find_mediapipe().usable is usable


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("print('one'); print('two')", Finding(True, "two")),
        ("raise OSError('no display')", Finding(False, "OSError: no display")),
        ("import os; os.abort()", Finding(False, "the process died of signal 6")),
        ("", Finding(True, "no answer")),
    ],
)
def test_doctor_survives_what_it_asks(code: str, finding: Finding) -> None:
    assert doctor.ask(code) == finding
