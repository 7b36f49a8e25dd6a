"""The subcommands of `tandem`, a module each; every module has a typer app named `app`."""
