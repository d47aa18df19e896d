"""`mmbench`: puts the commands together, and turns what the user can mend into one line and exit code 2.

Exit codes: 0 done; 1 finished, with failures; 2 wrong input, or a full disk; 130 stopped by Ctrl-C, 143 by SIGTERM,
129 by SIGHUP; 141 the reader of stdout left.
"""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from mmbench.api.files import open_streams
from mmbench.cli import stopping, terminal
from mmbench.cli.commands import (
    cache,
    check,
    compare,
    doctor,
    export,
    leaderboard,
    listing,
    new,
    publish,
    reproduce,
    run,
    verify,
)
from mmbench.errors import MMBenchError, PluginError

COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "plan": run.plan,
    "prepare": run.prepare,
    "leaderboard": leaderboard.leaderboard,
    "compare": compare.compare,
    "publish": publish.publish,
    "verify": verify.verify,
    "sign": verify.sign,
    "reproduce": reproduce.reproduce,
    "export": export.export,
    "predict": export.predict,
    "list": listing.listing,
    "info": listing.info,
    "cache": cache.cache,
    "new": new.new,
    "check": check.check,
    "doctor": doctor.doctor,
}

GONE = "the current folder is gone: cd to one that is there"
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
"""What the machine refuses, and no bug of ours: a full disk, a terminal that is gone."""


def main() -> None:
    """The entry point of the `mmbench` command."""
    open_streams()
    stopping.listen()
    sys.exit(call(sys.argv[1:]))


def call(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code."""
    try:
        code = build(arguments)(list(arguments), prog_name="mmbench", standalone_mode=False, obj=list(arguments))
        sys.stdout.flush()
    except MMBenchError as error:
        terminal.warn(GONE if _gone() else str(error), level="error")
        return 2
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see: {context.command_path} --help)" if context else ""
        terminal.warn(f"{error.format_message().replace('Value error, ', '').rstrip('.')}{hint}", level="error")
        return 2
    except KeyboardInterrupt as error:
        return stopping.exit_code(error)
    except BrokenPipeError:
        _leave_stdout()
        return 141
    except OSError as error:
        if _gone():
            terminal.warn(GONE, level="error")
            return 2
        if error.errno not in UNWRITABLE:
            raise
        with suppress(OSError):
            terminal.warn(f"{error.filename or 'stdout'} can't be written: {error.strerror}", level="error")
        _leave_stdout()
        return 2
    return code if isinstance(code, int) else 0


def _gone() -> bool:
    """Whether somebody has removed the folder that we stand in."""
    try:
        return not Path.cwd().is_dir()
    except OSError:
        return True


def _leave_stdout() -> None:
    """Or Python complains when it flushes at exit."""
    with suppress(OSError, ValueError):  # a notebook's has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build(arguments: Sequence[str] = ()) -> typer.Typer:
    """The app: the built-in commands, and those of plugins unless `arguments` name a built-in one."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        invoke_without_command=True,
    )
    app.callback()(_root)
    for name, command in COMMANDS.items():
        app.command(name)(command)
    words = [word for word in arguments if not word.startswith("-")]
    if not words or words[0] not in COMMANDS:
        _add_plugin_commands(app, wanted=bool(words))
    return app


def _add_plugin_commands(app: typer.Typer, *, wanted: bool) -> None:
    from mmbench import plugins

    try:
        plugins.load().manager.hook.mmbench_commands(app=app)
    except PluginError as error:
        if wanted:
            raise
        terminal.warn(str(error))  # help must still help
    for command in app.registered_commands[len(COMMANDS) :]:
        if command.name in COMMANDS:
            raise PluginError(f"a plugin adds the command {command.name!r}, which mmbench has; rename it")


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Does this fusion help, by how much, at what cost, under the same budget as everyone else?

    \b
    Examples:
      mmbench run starter              search every contender on every task, then rank them
      mmbench list fusions             what there is
      mmbench new fusion mine          begin a plugin of your own
      mmbench new dataset wines        and a data set
    """
    if version:
        from mmbench import __version__

        terminal.show(f"mmbench {__version__}")
    elif context.invoked_subcommand is None:
        terminal.show(context.get_help())
