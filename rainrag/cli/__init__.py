"""The command line: one small file a verb, heavy imports inside the commands."""

from __future__ import annotations

import sys
from concurrent.futures import BrokenExecutor

import typer

from rainrag.cli import console
from rainrag.cli.verbs import Verbs
from rainrag.core.errors import RainRAGError, UsageError
from rainrag.core.names import printable

app = typer.Typer(
    name="rainrag",
    cls=Verbs,
    help="Distil the public deraining datasets, train one model for four rain types, score it under named protocols.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode=None,  # the overview is plain text: rich takes twice as long to load as all the rest
    subcommand_metavar="VERB …",
    epilog="'rainrag VERB --help' explains one verb. Exit codes, workspace and environment: docs/cli.md.",
    pretty_exceptions_enable=False,
)


def _version(show: bool) -> None:
    if show:
        from rainrag.core.version import __version__

        typer.echo(f"rainrag {__version__}")
        raise typer.Exit


@app.callback()
def options(
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No messages and no progress; results only."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Say more; show tracebacks."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options before the verb."""
    console.QUIET, console.VERBOSE = quiet, verbose


INTERRUPTED = 130


def main() -> None:
    """Entry point: runs a command, turns our errors into three clear lines and an exit code."""
    try:
        code = app(standalone_mode=False)
        code = code if isinstance(code, int) else 0
        if code == INTERRUPTED:  # typer has caught it
            raise KeyboardInterrupt
        sys.exit(code)
    except RainRAGError as e:
        fail(e)
    except KeyboardInterrupt:
        console.err().print("interrupted; run the same command again to go on where it stopped", style="yellow")
        sys.exit(INTERRUPTED)
    except (typer.Abort, typer.Exit) as e:
        sys.exit(getattr(e, "exit_code", 1))
    except OSError as e:  # a folder that may not be written, a full disk: the machine's fault, not ours
        what = f"operating system error: {e.strerror or e}"
        fail(RainRAGError(what, where=e.filename, hint=system_hint(e)))
    except (MemoryError, BrokenExecutor) as e:
        what = "out of memory" if isinstance(e, MemoryError) else "a worker process died, most likely out of memory"
        fail(RainRAGError(what, hint="run it again with --workers 1: what is finished is kept"))
    except Exception as e:
        usage(e)


def fail(e: RainRAGError) -> None:
    """Print an error of ours and leave."""
    if console.VERBOSE:
        import traceback

        traceback.print_exc()
    from rich.markup import escape

    shown = console.err()
    shown.print(f"[bold red]error[/] {escape(shown_safely(e.what))}")
    if e.where:
        shown.print(f"  where: {escape(shown_safely(e.where))}")
    if e.hint:
        shown.print(f"  [green]hint:[/] {escape(shown_safely(e.hint))}")
    sys.exit(e.exit_code)


def shown_safely(text: str) -> str:
    """A message whose names cannot steer a terminal; its own line breaks stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def system_hint(e: OSError) -> str:
    """What helps against an error of the operating system."""
    import errno

    return {
        errno.ENOSPC: "free some space",
        errno.ENOENT: "check the path",
        errno.EACCES: "choose a path that you may use",
        errno.EPERM: "choose a path that you may use",
        errno.ENOTDIR: "a file lies where a folder is needed",
        errno.ENAMETOOLONG: "give the file a shorter name",
        errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    }.get(e.errno or 0, "check the path, its permissions and the free space")


def usage(e: Exception) -> None:
    """Wrong usage in click's words and our form (exit 2); anything else is a fault of ours and keeps its traceback (1)."""
    words = getattr(e, "format_message", None)
    if not callable(words):
        raise e
    context, verbs = getattr(e, "ctx", None), [""]
    while context is not None and context.parent is not None:
        verbs.insert(0, f" {context.info_name}")
        context = context.parent
    fail(UsageError(words(), hint=f"rainrag{''.join(verbs)} --help"))
