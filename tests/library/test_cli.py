"""``python -m idinit inspect`` shows the table and draws the picture, or says in one line why not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from idinit import __version__, examine, initialize_, list_initializers
from idinit.cli import main
from idinit.errors import UsageError
from idinit.zoo import load


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_table_and_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", "timm:test_resnet", "--init", "idinit", "--options", "tau=0.5", "stem=kaiming", "--input", "3x32x32"])
    printed = capsys.readouterr().out
    model, inputs = load("timm:test_resnet", (3, 32, 32))
    report = initialize_(model, "idinit", inputs, tau=0.5, stem="kaiming")
    assert printed.startswith("timm:test_resnet: ResNet, 469,688 weights, inputs 2x3x32x32\n")
    assert str(report) in printed
    assert "tau=0.5" in printed and "stem=kaiming" in printed
    assert printed.endswith("Picture: timm-test_resnet-idinit.png\n")
    with Image.open("timm-test_resnet-idinit.png") as picture:
        assert picture.size == (1280, 832)


def test_a_language_model_and_the_file_of_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", "hf:gpt2", "--init", "kaiming", "--input", "7", "--save", "gpt2.svg"])
    assert "inputs 2x7\n" in capsys.readouterr().out
    assert Path("gpt2.svg").read_text().startswith("<?xml")


def test_a_network_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", "timm:test_resnet", "--input", "3x32x32"])
    printed = capsys.readouterr().out
    assert printed.startswith("timm:test_resnet: ResNet, 469,688 weights, inputs 2x3x32x32\n")
    assert str(examine(*load("timm:test_resnet", (3, 32, 32)))) in printed and "normal" in printed
    assert not list(Path().iterdir())
    main(["inspect", "timm:test_resnet", "--input", "3x32x32", "--save", "signal.svg"])
    assert Path("signal.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspct"], "unknown command 'inspct': did you mean 'inspect'"),
        (["inspect", "timm:resnt50"], "timm has no network 'resnt50': did you mean 'resnet50'"),
        (["inspect", "timm:test_resnet", "--init", "idinnit"], "unknown initializer 'idinnit': did you mean 'idinit'"),
        (["inspect", "timm:test_resnet", "--init", "idinit", "--options", "tu=1"], "unknown key 'tu': did you mean 'tau'"),
        (
            ["inspect", "timm:test_resnet", "--options", "tau=1"],
            "--options.*--init NAME",
        ),
        (["inspect", "timm:test_resnet", "--options", "tau"], "tau.*KEY=VALUE"),
        (
            ["inspect", "timm:test_resnet", "--init", "idinit", "--options", "tau=-1"],
            "'tau=-1'.* 0",
        ),
        (["inspect", "timm:test_resnet", "--input", "3x0"], "'3x0'.*3x224x224"),
        (["inspect", "timm:test_resnet", "--save", "a.doc"], "'a.doc'.*png"),
        (["inspect", "timm:test_resnet", "--save", "none/a.png"], "folder 'none'"),
        (
            ["inspect", "timm:test_resnet", "--inpt", "3"],
            "--inpt 3; .*idinit inspect --help",
        ),
        (["list", "fixpu"], "'fixpu'.*'fixup'"),
        (["inspect"], "network; .*idinit inspect --help"),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        main(words)
    assert not list(Path().iterdir())


def test_list_shows_what_the_library_has(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    everything = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in everything[2:]] == [info.name for info in list_initializers()]
    main(["list", "kaiming"])
    one = capsys.readouterr().out
    assert everything[0].split() == one.splitlines()[0].split() and "mode" in one and "fan_out" in one


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    done = subprocess.run([sys.executable, "-m", "idinit", "inspect", "resnet50"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("idinit: 'resnet50' does not say where the network is from: Valid: FILE.py:FACTORY, hf:")


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word() -> None:
    command = f"{sys.executable} -m idinit inspect timm:test_resnet --init idinit --input 3x32x32 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("timm:test_resnet: ResNet") and done.stderr == ""
    assert Path("timm-test_resnet-idinit.png").exists()


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"
