"""A run as a Ray job: `batch submit --address http://HEAD:8265`, then `batch logs` and `batch cancel`."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import JsonOption, RunArgument
from motionecho.cli.printing import put, put_json, say
from motionecho.cli.settings import Resolved, as_changes
from motionecho.cli.status import open_run, state
from motionecho.errors import UserError

if TYPE_CHECKING:
    from motionecho.runs.store import RunStore

HERE = {
    "preset": None,
    "config": None,
    "address": "auto",
    "detach": False,
    "runtime_env": None,
    "json": False,
}


def submit_job(
    ctx: typer.Context, resolved: Resolved, url: str, detach: bool, runtime_env: str | None, json: bool
) -> None:
    """Run the command of `ctx` as a job, and follow it or leave it alone. Always raises Exit."""
    from motionecho.runs.store import RunStore
    from pipelines.machines import jobs
    from pipelines.machines.upload import ship, ship_engine

    address = ctx.params["address"]
    env = read_runtime_env(runtime_env) if runtime_env else {}
    client = jobs.connect(address)  # before anything is copied
    store = RunStore(url)
    manifest = ship(ctx.params["manifest"], store)
    settings = resolved.settings
    told = HERE | {
        "manifest": manifest,
        "out": store.url,
        "pair": settings.pair,
        "changes": as_changes(resolved),
        "metric": list(settings.metrics) or ["none"],
        "fit": settings.fit,
        "device": settings.placement.device,
        "dtype": settings.dtype,
        "weights": list(settings.placement.weights),
        "offload": settings.placement.offload,
        "eager": settings.placement.eager,
        "gate": settings.gate,
        "gate_tries": None,
        "engine_file": ship_engine(ctx.params["engine_file"], store),
    }
    command = ["python", "-m", "motionecho", "batch", "submit", *arguments(ctx, told)]
    id = jobs.submit(client, store.url, command, env)
    store.note_job({"address": without_login(address), "id": id})
    say(f"job        {id} on {without_login(address)}", f"out        {store.url}")
    say(*(f"{word:10} motionecho batch {word} {store.url}" for word in ("status", "logs", "cancel")))
    if detach:
        put_json(run=store.url, job=id, address=without_login(address)) if json else put(id)
        raise typer.Exit(Exit.OK)
    try:
        job = jobs.follow(client, id, write)
    except KeyboardInterrupt:
        say("", "no longer followed; the job goes on")
        raise typer.Exit(Exit.INTERRUPTED) from None
    code = jobs.exit_code(job)
    if job.driver_exit_code is None and job.message:
        say(" ".join(job.message.split())[:400])
    if json:
        put_json(job=id, exit_code=code, **(state(store) if store.run() else {"run": store.url}))
    else:
        put(store.url)
    raise typer.Exit(code)


def logs(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print what the run's job has said so far."""
    from pipelines.machines import jobs

    client, id = _job_of(open_run(run, begun=False))
    if follow:
        jobs.follow(client, id, lambda text: write(text, sys.stdout))
    else:
        jobs.details(client, id)
        write(client.get_job_logs(id), sys.stdout)


def cancel(run: RunArgument, json: JsonOption = False) -> None:
    """Stop the run's job: samples under way get a minute to finish; submitting again continues."""
    from pipelines.machines import jobs

    store = open_run(run, begun=False)
    client, id = _job_of(store)
    ended = jobs.details(client, id).status.is_terminal()
    job = jobs.stop(client, id)
    word = store.progress()
    if word and not word.get("ended"):  # a driver that was killed in the end could not say so
        store.note_progress(word | {"ended": True})
    how = f"{'had ended' if ended else 'has ended'}: {job.status.value.lower()}"
    say(f"job {id} {how}; what is finished is kept")
    put_json(run=store.url, job=id, status=job.status.value) if json else put(id)


def arguments(ctx: typer.Context, changed: Mapping[str, Any]) -> list[str]:
    """The command line that gives the parameters of `ctx`, some of them changed."""
    words: list[str] = []
    for parameter in ctx.command.params:
        value = changed.get(str(parameter.name), ctx.params.get(str(parameter.name)))
        if parameter.param_type_name == "argument":
            words.insert(0, str(value))
        elif isinstance(value, bool):
            flag = parameter.opts if value else parameter.secondary_opts
            words += flag[:1] if value != parameter.default else []
        elif value not in (None, (), []) and value != parameter.default:
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(each)]
    return words


def read_runtime_env(path: str) -> dict[str, Any]:
    """Read a file for Ray's runtime_env; UserError naming the file where it is something else."""
    import yaml

    try:
        with open(path, encoding="utf-8") as stream:
            data = yaml.safe_load(stream)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f'cannot read --runtime-env "{path}": {" ".join(str(problem).split())}') from problem
    if not isinstance(data, dict) or not isinstance(data.get("env_vars", {}), dict):
        raise UserError(
            f'--runtime-env "{path}" has to be a mapping, as Ray documents it, e.g. `pip: [s3fs]`'
        )
    return data


def without_login(address: str) -> str:
    """The address as it may be written down: a name and password within it are left out."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rsplit('@', 1)[-1]}".rstrip("/")


def write(text: str, stream: Any = None) -> None:
    """Pass a piece of log on as it is."""
    (stream or sys.stderr).write(text)
    (stream or sys.stderr).flush()


def _job_of(store: "RunStore") -> tuple[Any, str]:
    from pipelines.machines import jobs

    noted = store.job()
    if noted is None:
        raise UserError(
            f'"{store.url}" was not submitted as a job (--address http://HEAD:8265): its driver runs where '
            "it was started; look at it with batch status, stop it there with Ctrl-C"
        )
    return jobs.connect(noted["address"]), str(noted["id"])
