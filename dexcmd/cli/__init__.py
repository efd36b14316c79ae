"""The command `dexcmd`."""


def main() -> None:
    """Run the command line."""
