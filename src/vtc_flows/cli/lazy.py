"""A group of commands that imports a command when it is called, and ends errors in one line."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from typing import IO, Any, NoReturn

import click

from vtc_flows.errors import ConfigurationError, InputError, VtcFlowsError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


class OneLineError(click.ClickException):
    """An error as the command line shows it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on the error stream."""
        click.echo(f"vtc: {printable(self.format_message())}", file=file or sys.stderr)


class LazyGroup(click.Group):
    """
    Group whose commands live in modules that are imported on demand.

    Parameters
    ----------
    commands_at : mapping of str to (str, str)
        Name of a command: its place ``package.module:attribute``, and its line in the help.
    """

    def __init__(
        self, *args: Any, commands_at: Mapping[str, tuple[str, str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in their given order."""
        return list(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in self._commands_at:
            return None
        module, _, attribute = self._commands_at[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._commands_at.items()])

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options; say in one line which cannot be used."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            _end_with_usage(error)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what it raises into one line and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk is to show here, not when the interpreter ends
            return result
        except click.UsageError as error:
            _end_with_usage(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends each as it should; whoever closed the pipe needs no message
        except KeyboardInterrupt:
            raise OneLineError("interrupted", INTERRUPTED) from None
        except Exception as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            _give_up_full_output()
            raise OneLineError(_one_line(error), _exit_code(error)) from error


def printable(text: str) -> str:
    r"""
    Return text without what would steer a terminal; line breaks and tabs stay.

    Examples
    --------
    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in text)


def unexpected(error: Exception) -> str:
    """Return the line for an error that nobody foresaw."""
    text = str(error).strip().splitlines()
    return (
        f"unexpected {type(error).__name__}: {text[0] if text else 'no message'} "
        "(`vtc --debug ...` shows where; please report it)"
    )


def _give_up_full_output() -> None:
    """Keep the interpreter from writing once more, at its end, where writing has just failed."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_with_usage(error: click.UsageError) -> NoReturn:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    command = error.ctx.command_path if error.ctx else "vtc"
    message = error.format_message().removesuffix(".")
    raise OneLineError(f"{message} (see {command} --help)", BAD_INPUT) from None


def _exit_code(error: Exception) -> int:
    return BAD_INPUT if isinstance(error, InputError | ConfigurationError) else FAILED


def _one_line(error: Exception) -> str:
    if isinstance(error, VtcFlowsError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'output'}: {error.strerror}"  # the machine's fault, no bug
    return unexpected(error)
