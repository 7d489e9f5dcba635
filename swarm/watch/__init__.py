"""A study while it runs, for a person who looks for ten seconds: in a terminal, in a pipe, on a page.

`readings` is what the brain does not hold: heartbeats, the ledger of device memory, whether the study runs here. `view`
makes one `Frame` of both, as values; `terminal` draws it as text, `web` as a page. Nobody here writes anything but the
person's own word (`swarm.study.steering`).
"""
