"""The streaming daemon: exchanges, wire formats, the journal, the tick store and who may read it.

Imports nothing else of Orderflow's. Start with :mod:`orderflow_streaming.markets` (what is collected)
and :mod:`orderflow_streaming.schema` (what is stored).
"""
