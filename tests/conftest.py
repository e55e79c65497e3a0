"""Checks the shapes and types of every annotated function of both packages while the tests run."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the tensors are small

install_import_hook(["samrec", "landscape"], "runtime_checks.check")
