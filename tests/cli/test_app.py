from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer

import structkd
from structkd import errors
from structkd.cli import app, main


@pytest.fixture
def verb(monkeypatch):
    """Run `structkd verb` with a function as the verb."""

    def run(function, *arguments):
        def build():
            application = typer.Typer(pretty_exceptions_enable=False)
            application.callback()(lambda: None)
            application.command("verb")(function)
            return application

        monkeypatch.setattr(app, "build", build)
        return main(["verb", *arguments])

    return run


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.StructKDError, 1),
        (errors.UsageError, 2),
        (errors.RecipeError, 2),
        (errors.DataError, 3),
        (errors.IntegrityError, 4),
    ],
)
def test_an_error_for_the_user_is_its_message_and_its_status(verb, capsys, error, status):
    def function():
        raise error("line 3: got x, expected y")

    assert verb(function) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "structkd: line 3: got x, expected y\n"


def test_an_unexpected_error_has_status_1_and_no_traceback(verb, capsys):
    def function():
        raise ZeroDivisionError("oops")

    assert verb(function) == 1
    error = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: oops" in error
    assert "--debug" in error
    assert "Traceback" not in error


def test_debug_shows_the_traceback(verb, capsys):
    def function(debug: app.Debug = False):
        raise errors.DataError("bad")

    assert verb(function, "--debug") == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_has_status_130(verb, capsys):
    def function():
        raise KeyboardInterrupt

    assert verb(function) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_verb_that_ends_well_has_status_0_and_may_choose_another(verb):
    assert verb(lambda: None) == 0

    def function():
        raise typer.Exit(1)

    assert verb(function) == 1


@pytest.mark.parametrize("arguments", [["nonsense"], ["recipes", "nonsense"], ["doctor", "--nonsense"], ["recipes"]])
def test_wrong_usage_has_status_2_and_nothing_on_stdout(capsys, arguments):
    assert main(arguments) == 2
    if arguments != ["recipes"]:  # a verb alone shows its help
        assert capsys.readouterr().out == ""


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"structkd {structkd.__version__}\n"


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    words = capsys.readouterr().out.split()
    assert set(app.VERBS) <= set(words)


@pytest.mark.parametrize("verb_name", ["", *app.VERBS])
def test_help_imports_nothing_heavy(verb_name):
    heavy = ("torch", "transformers", "datasets", "numpy", "pyarrow")  # Typer itself imports pydantic
    program = (
        "import sys\n"
        "from structkd.cli import main\n"
        f"assert main({[verb_name, '--help'] if verb_name else ['--help']}) == 0\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


def test_the_package_alone_imports_nothing_heavy():
    program = "import sys, structkd; print(sorted({'torch', 'numpy', 'typer', 'pydantic'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_closed_pipe_is_no_crash(tmp_path):
    command = f"{sys.executable} -m structkd.cli recipes schema | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, env=dict(os.environ), check=True)
    assert result.stdout == "{\n"
    assert "Traceback" not in result.stderr
