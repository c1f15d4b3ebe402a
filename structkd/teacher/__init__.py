"""Teachers: trained taggers that label text for a student."""

from structkd.teacher.teacher import Teacher

__all__ = ["Teacher"]
