"""A run's own settings, and the samples of it that failed or are void, to be made again."""

import dataclasses
from collections.abc import Sequence

from motionecho.config import RunSettings
from motionecho.errors import UserError
from motionecho.manifest.prompts import PromptFilters
from motionecho.runs.state import latest_sources
from motionecho.runs.store import RunStore
from motionecho.runs.urls import lacks
from pipelines.plan import Work, plan_generation, together


def settings_of(store: RunStore, device: str | None = None) -> RunSettings:
    """Return the settings that run.json holds; the device is this machine's to choose.

    Raises UserError where another version made the run, or run.json names no settings.
    """
    store.refuse_other_epoch()
    words = store.run() or {}
    identity, weights = words.get("identity", {}), (words.get("about") or {}).get("weights_at", [])
    if not isinstance(identity.get("settings"), dict):
        raise UserError(f'"{store.url}/run.json" names no settings: it was not written by `batch submit`')
    try:
        return RunSettings.from_dict(identity["settings"] | {"device": device or "auto", "weights": weights})
    except UserError as problem:
        raise UserError(
            f'"{store.url}/run.json" has other settings than were written: {problem}'
        ) from problem


def manifests_of(store: RunStore) -> list[str]:
    """Return every manifest that was submitted to the run; UserError where none can be opened by its note."""
    words = [word for word in store.words() if word.role == "driver"]
    found = list(latest_sources(words)) or [m for w in words if (m := w.says.get("manifest"))]
    if not found:
        raise UserError(f'"{store.url}" does not say what manifest it was made of: name it after RUN')
    signed = next((manifest for manifest in found if lacks(manifest)), None)
    if signed:
        raise UserError(
            f'"{store.url}" was made of "{signed}", whose login or signature is not stored: '
            "name it in full after RUN"
        )
    return found


def only_failed(
    store: RunStore, manifests: Sequence[str], settings: RunSettings, filters: PromptFilters | None = None
) -> Work:
    """Plan manifests, with nothing to do but their samples that failed in this run or were requeued."""
    index = store.index()
    failed, void = index.failed, {key for key, entry in index.items() if entry.to_do}
    if not failed and not void:
        raise UserError(f'no sample of "{store.url}" has failed: there is nothing to retry')
    works = [
        plan_generation(manifest, settings, store.url, retry_failed=True, index=index, filters=filters)
        for manifest in manifests
    ]
    work, asked = together(works), {*failed, *(index[key].id for key in void)}
    todo = tuple(task for task in work.todo if task.payload.id in failed or task.key in void)
    unread = [row for row in work.unread if row.id in asked]
    if not todo and not unread:
        names = ", ".join(f'"{manifest}"' for manifest in manifests)
        raise UserError(
            f"none of the {len(failed) + len(void)} failed samples can run: their rows are bad as they stand "
            f"in {names}; mend them there (ids kept), and retry"
        )
    return dataclasses.replace(work, todo=todo, unread=unread)
