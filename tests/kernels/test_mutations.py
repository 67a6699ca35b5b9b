"""A bound loosened by one unit in the wrong direction makes a comparison with the reference fail."""

import os
import subprocess
import sys
from pathlib import Path


def test_every_bound_that_is_loosened_by_about_a_unit_makes_a_comparison_fail():
    # Without the compiler, in a process of its own: there a function can be replaced in the modules that use it.
    program = Path(__file__).parent.parent / "mutations.py"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=True)
    untouched, *mutated = run.stdout.splitlines()
    assert untouched.startswith("nothing: nothing failed in ")
    assert len(mutated) == 13
    assert [line for line in mutated if " fails, " not in line] == []
