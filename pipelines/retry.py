"""A run's own settings, and the samples of it that failed, to be made again."""

import dataclasses

from motionecho.config import RunSettings
from motionecho.errors import UserError
from motionecho.runs.store import RunStore
from pipelines.plan import Work, plan_generation


def settings_of(store: RunStore, device: str | None = None) -> RunSettings:
    """Return the settings that run.json holds; the device is this machine's to choose.

    Raises UserError where another version made the run, or run.json names no settings.
    """
    store.refuse_other_epoch()
    words = store.run() or {}
    identity, weights = words.get("identity", {}), words.get("about", {}).get("weights_at", [])
    if "settings" not in identity:
        raise UserError(f'"{store.url}/run.json" names no settings: it was not written by `batch submit`')
    return RunSettings.from_dict(identity["settings"] | {"device": device or "auto", "weights": weights})


def only_failed(store: RunStore, manifest: str, settings: RunSettings) -> Work:
    """Plan a manifest, with nothing to do but its samples that failed in this run."""
    index = store.index()
    failed = index.failed
    if not failed:
        raise UserError(f'no sample of "{store.url}" has failed: there is nothing to retry')
    work = plan_generation(manifest, settings, store.url, retry_failed=True, index=index)
    todo = tuple(task for task in work.todo if task.payload.id in failed)
    unread = [row for row in work.unread if row.id in failed]
    if not todo and not unread:
        raise UserError(
            f"none of the {len(failed)} failed samples can run: their rows are bad as they stand in "
            f'"{manifest}"; mend them there (ids kept), and retry'
        )
    return dataclasses.replace(work, todo=todo, unread=unread)
