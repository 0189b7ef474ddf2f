"""Why an instance is stuck, or why it failed, and what to do about it: read from the log itself."""

from stepwell.diagnosis.case import Finding, Remedy
from stepwell.diagnosis.diagnosing import Diagnosis, diagnose

__all__ = ["Diagnosis", "Finding", "Remedy", "diagnose"]
