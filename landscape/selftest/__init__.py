"""Known answers measured again on this machine: surfaces, spectra and operators, sharpness measures, files."""

from landscape.selftest.run import Check, run_selftest

__all__ = ["Check", "run_selftest"]
