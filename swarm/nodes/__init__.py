"""Trials on other machines. The driver has the brain, the proposers and the verdicts; a node has cards and runs orders.

    worker -> remote (the Executor) -> exchange <- beat <- agent -> local executor, admission, supervisor

`exchange` is who runs what: a state machine without files, clocks or sockets. `host` gives it a disk and a door on the
network, `agent` is a node's side, `serving` opens all of it around a study. Ray starts agents and carries nothing
else.
"""
