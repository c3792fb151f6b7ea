"""``imgurfs queue``: what is still to be told to Imgur, and what was rejected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imgurfs.cli import completing, queue_facts
from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.cli.words import moment, number, printable, size, table
from imgurfs.errors import UsageError

if TYPE_CHECKING:
    from imgurfs.store.database import Connection
    from imgurfs.store.outbox import Job

#: Jobs in a list for people, unless told otherwise.
_SHOWN = 50

_as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)
_id = click.argument("job_id", metavar="ID", type=int, shell_complete=completing.jobs)


def _listing_options(command: Any) -> Any:
    for option in (
        _as_json,
        click.option("--limit", type=click.IntRange(min=0), metavar="N",
                     help=f"Show at most N jobs; 0 = all (default: {_SHOWN},"
                     f" with --json {queue_facts.SHOWN_MAX})."),
        click.option("--dead", is_flag=True, help="Show what Imgur rejected instead."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(
    invoke_without_command=True, short_help="Show and steer what is to be sent."
)
@_listing_options
@click.pass_context
def queue(ctx: click.Context, as_json: bool, limit: int | None, dead: bool) -> None:
    """Show what waits to be sent and why, and decide about single jobs.

    \b
    What a job waits for (JSON "waits_for"):
      sending     it is in the air
      due         nothing: it is sent as soon as a daemon or 'imgurfs sync' runs
      album       its folder's album, or further changes of its album
      retry       another attempt, after the error that is shown
      budget      Imgur's limits
      grace       a deletion: it can be undone until then (imgurfs undo)
      quarantine  it may have happened: it is looked for then, never sent blindly
      paused      the end of a pause (imgurfs resume)
      guard       you: a deletion that looks like a mistake (imgurfs guard)
      decision    you: nobody can tell whether it happened (imgurfs queue resolve)

    JSON: {"jobs": [...], "total", "rejected"}. A job has id, kind, what, state, lane,
    waits_for, waits_until, reason, attempts, error, guard, size_bytes, created_at,
    not_before, sent_at, settled_at, marker, result; times are epochs, null means never
    or when you decide.
    """  # noqa: D301 - \b keeps click from rewrapping
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json, limit=limit, dead=dead)
    elif as_json or dead or limit is not None:
        raise UsageError(f"put the options behind '{ctx.invoked_subcommand}'")


@queue.command("list")
@_listing_options
@pass_context
def list_(context: Context, as_json: bool, limit: int | None, dead: bool) -> None:
    """List what waits, or with --dead what Imgur rejected."""
    from imgurfs.cli.opened import opened

    usual = queue_facts.SHOWN_MAX if as_json else _SHOWN
    shown = usual if limit is None else limit or None
    with opened(context) as state:
        found = queue_facts.gather(state, is_dead=dead, limit=shown)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    _print_list(found["jobs"], found["total"], is_dead=dead, rejected=found["rejected"])


@queue.command()
@_id
@_as_json
@pass_context
def show(context: Context, job_id: int, as_json: bool) -> None:
    """Show everything about one job."""
    from imgurfs.cli.opened import opened
    from imgurfs.model import JobId
    from imgurfs.store import outbox

    with opened(context) as state:
        job = outbox.job(state.reader, JobId(job_id))
        if job is None:
            raise UsageError(
                f"there is no job {job_id}", hint="list them: imgurfs queue"
            )
        facts = queue_facts.of_job(state.reader, job, state.waiting_teller())
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for line in table((key, _value(key, value)) for key, value in facts.items()):
        print(line)


@queue.command()
@click.argument(
    "job_id",
    metavar="[ID]",
    type=int,
    required=False,
    shell_complete=completing.jobs,
)
@click.option("--dead", is_flag=True, help="Retry everything that was rejected.")
@pass_context
def retry(context: Context, job_id: int | None, dead: bool) -> None:
    """Send a rejected job again, or one that waits for another attempt at once."""
    from imgurfs import control
    from imgurfs.cli.opened import opened
    from imgurfs.model import JobId

    if (job_id is None) is not dead:
        raise UsageError("say which: imgurfs queue retry ID, or --dead for all")
    with opened(context) as state:
        now = state.clock.now()
        if job_id is None:
            jobs = state.write(lambda c: control.retry_rejected(c, now=now))
        else:
            wanted = JobId(job_id)
            jobs = [state.write(lambda c: control.retry(c, wanted, now=now))]
        _tell(state.reader, "is sent again", jobs)
        if not jobs:
            print("nothing was rejected")


@queue.command()
@_id
@pass_context
def cancel(context: Context, job_id: int) -> None:
    """Withdraw a job that waits, or put a rejected one off the list.

    The file of a cancelled upload is left alone until it changes. Albums are brought
    about from what the folders hold: a cancelled change of one may be asked for again.
    """
    from imgurfs import control
    from imgurfs.cli.opened import opened
    from imgurfs.model import JobId

    with opened(context) as state:
        now = state.clock.now()
        job = state.write(lambda c: control.cancel(c, JobId(job_id), now=now))
        _tell(state.reader, "is withdrawn", [job])


@queue.command()
@_id
@click.option(
    "--happened",
    metavar="IMAGE_OR_ALBUM_ID",
    help="It did happen, and this is the image or album that came of it.",
)
@click.option("--did-not-happen", is_flag=True,
              help="It did not happen: send it again.")  # fmt: skip
@pass_context
def resolve(
    context: Context, job_id: int, happened: str | None, did_not_happen: bool
) -> None:
    """Say what came of a job that may have happened.

    Usually nobody has to: after a while the newest images of the account are looked
    through, and the job goes on by itself. Look on imgur.com before you decide; when it
    is sent although it did happen, there are two.
    """
    if (happened is None) is not did_not_happen:
        raise UsageError("say either --happened ID or --did-not-happen")
    from imgurfs import control
    from imgurfs.cli.opened import opened
    from imgurfs.model import JobId

    wanted = JobId(job_id)
    with opened(context) as state:
        job = control.unresolved(state.reader, wanted)
    if happened is not None:
        job = run_trio(_record, context, job, happened)
        with opened(context) as state:
            _tell(state.reader, f"is done, as {happened}", [job])
        return
    with opened(context) as state:
        now = state.clock.now()
        job = state.write(lambda c: control.did_not_happen(c, wanted, now=now))
        _tell(state.reader, "is sent again", [job])


async def _record(context: Context, job: Job, made_id: str) -> Job:
    """Ask Imgur for what came of a job, and record it."""
    from imgurfs import control
    from imgurfs.api.anonymous import AnonymousClient
    from imgurfs.assembly import open_account
    from imgurfs.jobs import queueing
    from imgurfs.model import Album, AlbumId, Image, ImageId, Lane

    async with open_account(context.load_config(), context.account) as services:
        made: Image | Album
        if job.kind == queueing.CREATE_ALBUM:
            made, _ = await services.api.album(AlbumId(made_id), Lane.INTERACTIVE)
        else:
            made = await services.api.image(ImageId(made_id), Lane.INTERACTIVE)
        now = services.clock.now()
        done = await services.db.write(
            lambda c: control.happened(c, job.id, made, now=now)
        )
        if isinstance(services.api, AnonymousClient):
            await services.api.adopt(made)
        return done


def _tell(c: Connection, what: str, jobs: list[Job]) -> None:
    from imgurfs.jobs import drive_names

    for job in jobs:
        print(f"job {job.id} {what}: {printable(drive_names.what(c, job))}")


def _value(key: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if key.endswith(("_at", "_until")) or key == "not_before":
        return moment(value) if value else "-"
    if key == "size_bytes":
        return size(value) if value else "-"
    return printable(str(value))


def _print_list(
    facts: list[dict[str, Any]], total: int, *, is_dead: bool, rejected: int
) -> None:
    rows = [("ID", "STATE", "LANE", "TRIES", "WHAT", "WAITS FOR")]
    rows += [
        (str(f["id"]), f["state"], f["lane"], str(f["attempts"]),
         printable(f["what"]), _why(f))
        for f in facts
    ]  # fmt: skip
    if facts:
        print("\n".join(table(rows)))
    if total > len(facts):
        print(f"and {total - len(facts):,} more: --limit 0 shows all")
    if is_dead:
        print(f"{number(total, 'job')} rejected by Imgur")
        if total:
            print(
                "try again: imgurfs queue retry ID; take off: imgurfs queue cancel ID"
            )
        return
    print(f"{number(total, 'job')} waiting, {rejected:,} rejected")
    if rejected:
        print("see the rejected ones: imgurfs queue --dead")


def _why(facts: dict[str, Any]) -> str:
    if facts["waits_for"] is None:
        return printable(facts["error"] or "-")
    until = facts["waits_until"]
    when = f" until {moment(until)}" if until else ""
    return f"{facts['waits_for']}{when}: {printable(facts['reason'])}"
