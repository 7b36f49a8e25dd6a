"""The subcommands of `tandem`. A module with a typer app named `app` is a part of the command line;
one named like its group (`order.py` is `tandem order`) is imported alone when that group is asked for."""
