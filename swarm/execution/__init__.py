"""Runs trials and says how they ended. `executor` is the seam, `local` this machine, `runner` the trial's records.

order -> executor -> outcome -> verdict -> record
"""
