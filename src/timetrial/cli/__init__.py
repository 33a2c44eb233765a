"""The command line: a module per verb, thin; everything it does, `timetrial.api` does too.

Exit status: 0 done, 1 an error of the user's or the machine's in one line, 2 usage, 3 some runs
failed, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Final

import typer

from timetrial import __version__
from timetrial.cli import (
    compare,
    convergence,
    data,
    doctor,
    export,
    forecasts,
    listing,
    machine,
    parity,
    price,
    report,
    run,
    show,
    tune,
    verify,
)
from timetrial.errors import TimetrialError

EXIT_ERROR: Final = 1
EXIT_INTERRUPTED: Final = 130

app = typer.Typer(
    name="timetrial",
    help="The same training task on every framework and machine: timed honestly, with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"timetrial {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,  # before a verb is asked for
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


app.command("run")(run.run)
app.command("list")(listing.list_)
app.command("show")(show.show)
app.command("doctor")(doctor.doctor)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("probe")(forecasts.probe)
app.command("predict")(forecasts.predict)
app.command("recommend")(forecasts.recommend)
app.command("price")(price.price)
app.command("tune")(tune.tune)
app.command("parity")(parity.parity)
app.command("verify")(verify.verify)
app.command("machine")(machine.machine)
app.command("export")(export.export)
app.add_typer(data.app, name="data")
app.add_typer(convergence.app, name="convergence")


def main() -> None:
    """Run the command line and exit with its status."""
    logging.basicConfig(format="timetrial: %(message)s", level=logging.WARNING)
    try:
        app(prog_name="timetrial")
    except TimetrialError as error:
        print(f"timetrial: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        print("timetrial: stopped", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
