"""`landscape watch`: a page on this machine that follows a store while it is computed."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli import options
from landscape.cli.running import emit


def watch(
    store: Annotated[Path, typer.Argument(help="The store to follow; its writer may be at work.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Serve the report of a store on this machine alone; it sharpens while points arrive. Ctrl-C ends it.

    Example: landscape watch study.h5 --open
    """
    from landscape.report.live import store_source

    serve(store_source(store), port=port, open_page=open_page, as_json=as_json)


def serve(source: object, *, port: int, open_page: bool, as_json: bool) -> None:
    """Say where the page is, and serve it until interrupted."""
    import webbrowser

    from landscape.report.live import HOST, Source, make_server

    assert isinstance(source, Source)
    with make_server(source, port=port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        emit(as_json, {"address": address}, f"watching at {address}; Ctrl-C ends it")
        print(end="", flush=True)
        if open_page:
            webbrowser.open(address)
        server.serve_forever()
