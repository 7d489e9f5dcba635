"""Findings between swarms, without a server and without belief.

    study -> publishing -> signed file -> remote (git, folder) -> receiving -> shelf -> a proposal of arm import:REMOTE

A finding is a change of the target's program and what its author measured. The receiver checks who signed it, its size,
its form and that harness and data are the same; then it is a proposal among others, tried on own seeds. No number of
somebody else's enters a study.
"""
