"""Rented machines: rent one, let it run a study, bring the results home, switch it off.

`provider.py` is the seam (`Pods`), `order.py` what a pod is told and what it leaves behind, `reach.py` how its files
are reached. A provider knows nothing of studies; a pod knows nothing of its provider but how to end itself.
"""
