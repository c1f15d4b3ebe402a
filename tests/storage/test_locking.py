from __future__ import annotations

import os
import subprocess
import sys

import pytest

from structkd.errors import IntegrityError
from structkd.storage import lock

HOLD = """
import sys
from structkd.storage import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_folder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(IntegrityError, match=rf"pid {holder.pid}\) is working in {tmp_path}"), lock(tmp_path):
            pass
        holder.kill()
    with lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), lock(tmp_path / "new"):
        raise RuntimeError
    with lock(tmp_path / "new"):
        pass
