"""One study on this machine, from its first check to its last line.

`opening` checks and writes down what is run, `orchestrator` starts the workers and ends the study, `control` is how
other processes find a running study and stop it.
"""
