"""An archive without a database of its own: what all nodes sealed, under the names that readers know."""

from __future__ import annotations

from orderflow_streaming.archive import continuous, nodes
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import StoreUnavailableError
from orderflow_streaming.store.place import Place


def engine_over(place: Place) -> Engine:
    """An engine in memory over the files that the lists of the nodes name now.

    Raises StoreUnavailableError where the place cannot be reached or no node has a list there.
    """
    try:
        found = nodes.Others(place, None).changed()
    except OSError as error:
        raise StoreUnavailableError(f"the archive {place.root} cannot be reached: {error}") from error
    if not found:
        raise StoreUnavailableError(f"{place.root} is no archive: it has no list of a node.")
    engine = Engine(":memory:", archive=place)
    continuous.prepare(engine)
    with engine.transaction() as cursor:
        for stream in sorted(nodes.take_over(cursor, found)):
            continuous.show(engine, cursor, stream)
    continuous.create_views(engine)
    return engine
