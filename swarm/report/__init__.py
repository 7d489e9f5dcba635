"""A study in numbers, figures and pages. `summary` is what all of them ask; `figures` and what is made of them need
plotly, whose import takes longer than a `swarm status`, so this door imports nothing."""
