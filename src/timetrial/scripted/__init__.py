"""The open division: anyone's script or command, on a task's data, target and budget.

variables    what the command is told by its environment
recording    timetrial.record, for the command's side
command      the words of a command line -> what is run, and which file is its own
mllog        bytes of standard output -> :::MLLOG lines
predictions  files of predictions -> accuracy and loss
claims       lines and predictions -> evaluations that count, or are refused
processes    the command's process tree, and its end
session      one attempt, inside the worker
"""
