"""``imgurfs guard``: deletions that look like a mistake, and what to do about them."""

from __future__ import annotations

import json

import click

from imgurfs.cli.context import EXIT_FAILED, Context, pass_context
from imgurfs.cli.words import moment, number, printable
from imgurfs.errors import UsageError

_as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)


@click.group(
    invoke_without_command=True,
    short_help="Decide about deletions that look like a mistake.",
)
@_as_json
@click.pass_context
def guard(ctx: click.Context, as_json: bool) -> None:
    """Show the deletions that are held because they look like a mistake.

    Held is what would delete many images at once, a whole album or everything of a
    folder, and what comes from a folder that is not the directory it was. Uploads go
    on meanwhile. [sync] guard = false in the configuration turns this off.

    JSON: {"count", "reasons": [..], "samples": [..], "since_at"}; count 0: nothing is
    held. samples are some of the files.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show, as_json=as_json)
    elif as_json:
        raise UsageError(f"put --json behind '{ctx.invoked_subcommand}'")


@guard.command()
@_as_json
@pass_context
def show(context: Context, as_json: bool) -> None:
    """Show what is held, why, and what you can do."""
    from imgurfs.cli.opened import opened
    from imgurfs.jobs import guard as rules

    with opened(context) as state:
        found = rules.report(state.reader)
    if as_json:
        print(
            json.dumps(
                {
                    "count": found.count if found else 0,
                    "reasons": list(found.reasons) if found else [],
                    "samples": list(found.samples) if found else [],
                    "since_at": found.since_at if found else None,
                },
                indent=2,
            )
        )
        return
    if found is None:
        print("nothing is held")
        return
    print(f"{number(found.count, 'deletion')} held since {moment(found.since_at)}:")
    for reason in found.reasons:
        print(f"  {printable(reason)}")
    for sample in found.samples:
        print(f"    {printable(sample)}")
    if found.count > len(found.samples):
        print(f"    and {found.count - len(found.samples):,} more: imgurfs queue")
    print("to delete these images on Imgur, for good:  imgurfs guard approve")
    print("to keep them, and forget the missing files: imgurfs guard reject")


@guard.command()
@pass_context
def approve(context: Context) -> int:
    """Delete what is held now on Imgur; what comes later is judged anew.

    Nothing brings an image back once it is deleted. Until their grace period is over,
    'imgurfs undo' still calls the deletions off. Exit code 1 when nothing is held.
    """
    from imgurfs.cli.opened import opened
    from imgurfs.jobs import guard as rules

    with opened(context) as state:
        count = state.write(rules.approve)
    print(f"{number(count, 'deletion')} approved" if count else "nothing is held")
    return 0 if count else EXIT_FAILED


@guard.command()
@pass_context
def reject(context: Context) -> int:
    """Keep the images of what is held, and forget the files that are gone.

    A file that is there after all (its disk is back) is recognised by its content and
    not uploaded again. Exit code 1 when nothing is held.
    """
    from imgurfs.cli.opened import opened
    from imgurfs.jobs import guard as rules

    with opened(context) as state:
        now = state.clock.now()
        held, count = state.write(lambda c: (rules.report(c), rules.reject(c, now=now)))
    if held is None:
        print("nothing is held")
        return EXIT_FAILED
    print(f"{number(count, 'deletion')} called off; the images stay on Imgur")
    if held.in_doubt:
        print(
            f"{held.in_doubt} of them had been sent and may have happened: Imgur is"
            " asked, and a file whose image is gone is uploaded again"
        )
    return 0
