"""Trials of targets that are not sealed: the command's process, and the grader's after it. Standard library only.

    make   trusted, where a target is run in rounds: the inputs of each, from a secret
    run    the target's own command, in the sandbox: sees inputs/, writes outputs/, meets nothing private
    grade  trusted, once no process of `run` is alive: takes the declared outputs as inert data, runs the target's
           grader with private/ in a process of its own, and writes the score

Where the number is self-reported there is no grader: `grade` reads what `run` has printed.
"""
