"""The files and locks that make the decisions of the policy hold for every process of the machine.

A lease and a ticket are each a file with a kernel lock on it. The lock says whether it still counts, the file what it
is for. Imports the policy, and nothing of the controller above it.
"""
