"""Closed hours as Parquet files, and stream tables that go on across what is hot and what is sealed.

The rows the writer stores are in schema ``hot``. Readers use the views of schema ``main``: the hot rows and the
files of ``ops.archive`` that stand for rows dropped here or sealed by other nodes.
"""
