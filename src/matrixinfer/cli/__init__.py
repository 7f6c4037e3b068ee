"""The `matrixinfer` command: one file a group of commands, each of which imports what it needs when it runs.

Here belong: commands, their flags and help, how they print, and how a process of a part is run. Here does not belong:
what the parts do, and how the platform of one machine is assembled (`up`). Nobody imports it but `__main__`.
"""


def main() -> None:
    """The entry point of the `matrixinfer` script."""
    from matrixinfer.cli.app import app

    app()


__all__ = ["main"]
