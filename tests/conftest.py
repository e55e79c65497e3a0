"""Checks the shapes and types of every annotated function of both packages while the tests run."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("samrec", deadline=None, derandomize=True)  # a busy machine is no failure; the same examples
settings.load_profile("samrec")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the tensors are small

install_import_hook(["samrec", "landscape"], "runtime_checks.check")
