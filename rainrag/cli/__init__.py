"""The command line: one small file a verb, heavy imports inside the commands."""

from __future__ import annotations

import sys
from concurrent.futures import BrokenExecutor

import typer

from rainrag.cli import console
from rainrag.cli.verbs import Verbs
from rainrag.core.errors import RainRAGError

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
        fail(RainRAGError(what, where=e.filename, hint="check that the path exists, is yours, and has space"))
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
    shown.print(f"[bold red]error[/] {escape(e.what)}" + (f"\n  where: {escape(e.where)}" if e.where else ""))
    if e.hint:
        shown.print(f"  [green]hint:[/] {escape(e.hint)}")
    sys.exit(e.exit_code)


def usage(e: Exception) -> None:
    """Wrong usage as click words it (exit 2); anything else is a fault of ours and keeps its traceback (exit 1)."""
    show = getattr(e, "show", None)
    if callable(show):
        show()
        sys.exit(getattr(e, "exit_code", 2))
    raise e
