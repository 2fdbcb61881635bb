"""What is wrong with a server, from its logs: four questions, memory, pooling, settings, and what is not logged."""

from pgtrace.doctor.answer import CANNOT_TELL, NO, YES, Answer, Evidence
from pgtrace.doctor.examine import Diagnosis, examine
from pgtrace.doctor.logadvice import LoggingAdvice, advise_logging

__all__ = [
    "CANNOT_TELL",
    "NO",
    "YES",
    "Answer",
    "Diagnosis",
    "Evidence",
    "LoggingAdvice",
    "advise_logging",
    "examine",
]
