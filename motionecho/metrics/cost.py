"""The cost of a sample, out of its record: seconds by stage, inversion apart, and network evaluations."""

from motionecho.runs.records import Record

BOOKKEEPING = ("cost_seconds_",)  # only --json shows what begins so


def cost(record: Record) -> dict[str, float]:
    """Return figures named cost_*; empty for a record without a trace.

    cost_seconds              sampling and decoding of the video: what one more prompt costs
    cost_seconds_<stage>      every stage and lap the worker timed
    cost_seconds_invert       only where this sample made its motion; all others found it in the store
    cost_seconds_train        likewise, where the strategy trains on the reference
    cost_forward_equivalents  network evaluations in forward passes, a guided one counting as 3
    cost_<kind>               network evaluations by kind: student, student_guided, teacher, teacher_guided
    """
    if not record.trace:
        return {}
    seconds = dict(record.seconds)
    if record.motion is None or not record.motion.sha256:
        for stage in ("invert", "train"):
            seconds.pop(stage, None)
    figures = {f"cost_seconds_{stage}": float(value) for stage, value in seconds.items()}
    laps = [seconds[name] for name in ("generate_sample", "generate_decode") if name in seconds]
    if laps:
        figures = {"cost_seconds": float(sum(laps))} | figures
    equivalents = sum(t["forward_equivalents"] for t in record.tries) or record.trace.get(
        "forward_equivalents"
    )
    if equivalents is not None:
        figures["cost_forward_equivalents"] = float(equivalents)
    counts = record.trace.get("evaluations", {})
    return figures | {f"cost_{kind}": float(number) for kind, number in counts.items()}
