"""A fake of Runpod's API v2: a real HTTP server on the loopback interface, whose pods are local process trees.

For trying the whole story without an account and for tests. Nothing of it costs anything, and
the prices in its catalogue are made up. It is written against the API's description and not against our client.
"""
