"""A run as a Ray job: `batch submit --address http://HEAD:8265`, then `batch logs` and `batch cancel`."""

import sys
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import ClusterOptions, EffortOptions, JobOptions, JsonOption, RunArgument
from motionecho.cli.printing import put, put_json, say
from motionecho.cli.status import open_run
from motionecho.errors import UserError
from motionecho.report.visible import visible

if TYPE_CHECKING:
    from motionecho.config import RunSettings
    from motionecho.runs.store import RunStore


def submit_job(
    manifest: str,
    settings: "RunSettings",
    url: str,
    cluster: ClusterOptions,
    effort: EffortOptions,
    job: JobOptions,
    json: bool,
) -> NoReturn:
    """Run `batch submit` as a job of the cluster, and follow it or leave it alone."""
    from motionecho.runs.state import state_of
    from motionecho.runs.store import RunStore
    from pipelines.machines import jobs

    address = str(cluster.address)
    env = read_runtime_env(job.runtime_env) if job.runtime_env else {}
    client = jobs.connect(address)  # before anything is copied
    store = RunStore(url)
    command = ship_command(manifest, settings, store, cluster, effort)
    id = jobs.submit(client, store.url, command, env)
    store.note_job({"address": without_login(address), "id": id})
    say(f"job        {id} on {without_login(address)}", f"out        {store.url}")
    say(*(f"{word:10} motionecho batch {word} {store.url}" for word in ("status", "logs", "cancel")))
    if job.detach:
        put_json(run=store.url, job=id, address=without_login(address)) if json else put(id)
        raise typer.Exit(Exit.OK)
    try:
        ended = jobs.follow(client, id, write)
    except KeyboardInterrupt:
        say("", "no longer followed; the job goes on")
        raise typer.Exit(Exit.INTERRUPTED) from None
    code = jobs.exit_code(ended)
    if ended.driver_exit_code is None and ended.message:
        say(" ".join(ended.message.split())[:400])
    if json:
        put_json(job=id, exit_code=code, **(asdict(state_of(store)) if store.run() else {"run": store.url}))
    else:
        put(store.url)
    raise typer.Exit(code)


def ship_command(
    manifest: str, settings: "RunSettings", store: "RunStore", cluster: ClusterOptions, effort: EffortOptions
) -> list[str]:
    """Copy what the job reads to the run's place and return the job's command line.

    What to make is in files; how to carry it out is in flags.
    """
    from motionecho.cli.settings import settings_file
    from motionecho.runs.files import absolute
    from motionecho.runs.places import Place
    from pipelines.machines.upload import refuse_secret, ship, ship_engine, ship_settings, ship_text

    for place in (*settings.placement.weights, cluster.motions or ""):
        refuse_secret(Place(place), "the weights" if place in settings.placement.weights else "the motions")
    there = replace(
        cluster,
        address="auto",
        engine=ship_engine(cluster.engine, store),
        motions=absolute(cluster.motions) if cluster.motions else None,
    )
    if effort.deny:
        effort = replace(effort, deny=ship_text(effort.deny, store))
    words = [ship(manifest, store), "--config", ship_settings(settings_file(settings), store)]
    words += ["--pair", settings.pair]  # or MOTIONECHO_PAIR, which jobs get too, would win over the file
    words += ["--out", store.url, *flags(there), *flags(effort)]
    return ["python", "-m", "motionecho", "batch", "submit", *words]


def flags(options: ClusterOptions | EffortOptions) -> list[str]:
    """Write out those options that are not as by default; each is named as its field, with dashes."""
    words: list[str] = []
    for field in fields(options):
        name, value = field.name.replace("_", "-"), getattr(options, field.name)
        if value == field.default:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", str(value)]
    return words


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
    for word in store.words():
        if word.says.get("job") == id and not word.ended:  # a driver that was killed could not say so
            store.end(word)
    how = f"{'had ended' if ended else 'has ended'}: {job.status.value.lower()}"
    say(f"job {id} {how}; what is finished is kept")
    put_json(run=store.url, job=id, status=job.status.value) if json else put(id)


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
    """Return the address as it may be written down: a name and password within it are left out."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rsplit('@', 1)[-1]}".rstrip("/")


def write(text: str, stream: Any = None) -> None:
    """Pass a piece of log on, line by line as it is; what is no text of a line is made visible."""
    (stream or sys.stderr).write(visible(text, keep="\n\t"))
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
