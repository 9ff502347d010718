"""A scheduler that a user brings along."""

from vllm.v1.core.sched.scheduler import Scheduler


class OtherScheduler(Scheduler):
    """Like the stock one, under another name."""
