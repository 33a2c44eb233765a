"""Measures what this machine can do at most: products, memory, disk, copies, all-reduce.

session     the whole measurement: which child processes, in which order; their finds -> a record
children    child processes started, heard, let go on in turns, ended
orders      what a child is asked, and what it answers
probe       a child: python -m timetrial.ceilings.probe
rounds      how anything is timed in it
with_torch  what is timed in PyTorch; with_numpy without it
disk        the read of a disk
pair        the all-reduce of two workers
theory      the theoretical figures beside them
"""
