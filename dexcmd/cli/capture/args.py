"""Builds the args of a command from options."""

import warnings
from typing import Any

import attrs

from dexcmd.cli.stderr import warn
from dexcmd.cli.typed import CommandType
from dexcmd.errors import ConfigurationError
from dexcmd.resources.requests import CommandArgs, Pcap, SpeedTest, WarpDiag

__all__ = ["make_args"]

KINDS: tuple[type[CommandArgs], ...] = (Pcap, SpeedTest, WarpDiag)


def make_args(command_type: CommandType, **options: Any) -> CommandArgs:
    """Return the args of a command type; an option that is None was not given.

    Values outside the documented range cause a warning on stderr.  Raises `ConfigurationError`, also for an option of
    another type.
    """
    [kind] = (kind for kind in KINDS if kind.type == command_type)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - {field.name for field in attrs.fields(kind)}:
        raise ConfigurationError(f"--{name.replace('_', '-')} is not for {command_type}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        args = kind(**given)
    for warning in caught:
        warn(str(warning.message))
    return args
