"""Teachers: whoever knows how to label text for a student, alone or together."""

from structkd.teacher.annotations import Annotations
from structkd.teacher.ensemble import COMBINATIONS, CrossFittedTeacher, Member, TeacherEnsemble, assign_folds
from structkd.teacher.teacher import Chain, Source, Teacher, fine_chain

__all__ = [
    "COMBINATIONS",
    "Annotations",
    "Chain",
    "CrossFittedTeacher",
    "Member",
    "Source",
    "Teacher",
    "TeacherEnsemble",
    "assign_folds",
    "fine_chain",
]
