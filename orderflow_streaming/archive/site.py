"""Who a database is in its archive. Two databases must not be the same node: each would replace the other's files."""

from __future__ import annotations

import logging
import socket
import uuid
from datetime import UTC, datetime

from orderflow_streaming.archive import layout, manifest, nodes
from orderflow_streaming.archive.manifest import Site
from orderflow_streaming.schema import ARCHIVE
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import ArchiveError
from orderflow_streaming.store.place import Place

log = logging.getLogger(__name__)


def settle(engine: Engine, place: Place, node: str | None) -> Site:
    """The site of a database in an archive, written down in the database and claimed in the archive.

    ``node`` defaults to the name the database has, else to the host's. Raises ArchiveError where the name is not to
    be had or where files of this database are not in the archive, and OSError where a database that is new to the
    archive cannot reach it; one that is not goes on and claims its name when it has something to tell.
    """
    engine.ensure(ARCHIVE, manifest.SITE, manifest.REPLACED)
    with engine.transaction() as cursor:
        before = manifest.site(cursor)
        entries = manifest.sealed(cursor, manifest.OWN)
        name = _name(node, before)
        if before and before.node != name and entries:
            raise ArchiveError(
                f"this database has sealed {len(entries)} hours as node {before.node!r} and cannot become {name!r}. "
                f"Set node to {before.node!r}, or leave it out."
            )
        site = Site(place.root, name, before.identity if before else uuid.uuid4().hex)
        try:
            owner = nodes.identity_of(place, name)
        except OSError as error:
            if site != before:
                raise
            log.warning("the archive %s cannot be reached now: %s", place.root, error)
            return site
        if owner not in (None, site.identity):
            raise ArchiveError(
                f"another database seals into {place.root} as node {name!r}. Set node to a name of its own."
            )
        dropped = [entry for entry in entries if entry.dropped_at]
        if dropped and owner is None:
            raise ArchiveError(
                f"{place.root} has no file of node {name!r}, but {len(dropped)} hours of this database lie in its "
                f"archive. Set archive to where they are now; they were in {before.root if before else place.root}."
            )
        if site != before:
            manifest.set_site(cursor, site, datetime.now(UTC).replace(tzinfo=None))
    if owner is None:
        nodes.publish(place, site.node, site.identity, entries)
    return site


def _name(node: str | None, before: Site | None) -> str:
    try:
        return layout.node_name(node or (before.node if before else socket.gethostname()))
    except ValueError as error:
        raise ArchiveError(f"{error}.") from error
