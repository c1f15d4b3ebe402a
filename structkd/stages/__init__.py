"""The stages of the main job and the run directory: the only room that joins all others."""

from structkd.stages.directory import RunDirectory
from structkd.stages.extract import StoreSummary
from structkd.stages.jobs import Context, Display, Job, Silence
from structkd.stages.run import STAGES, Plan, make_plan, run, store_faults_of, summaries
from structkd.stages.sweep import SweepPlan, plan_sweep, sweep

__all__ = [
    "STAGES",
    "Context",
    "Display",
    "Job",
    "Plan",
    "RunDirectory",
    "Silence",
    "StoreSummary",
    "SweepPlan",
    "make_plan",
    "plan_sweep",
    "run",
    "store_faults_of",
    "summaries",
    "sweep",
]
