"""Why does this picture look odd? What a store itself shows, each finding with its evidence and a next step.

Nothing is measured again and nothing is changed: a finding follows from the numbers, errors and records that are there,
by rules whose limits are stated with them. A finding is no failure; a store without any is no proof.
"""

from landscape.doctor.diagnosis import diagnose
from landscape.doctor.finding import Finding

__all__ = ["Finding", "diagnose"]
