"""Who gets how much memory, decided from values alone.

Nothing here opens a file, takes a lock or reads a clock: `core.decide` gets the state and an event and returns the
next state and what to do. The ledger and the simulator both call it. Imports nothing of the ledger.
"""
