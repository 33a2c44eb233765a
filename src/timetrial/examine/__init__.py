"""Examinations: named steps with findings, carried out in a worker. Nothing is learned in them.

request   what a user asks for -> a plan
scene     what an examiner is and works with: its findings, its files, the commands that it runs
commands  a command that is run for a step, and ended with it
session   one attempt, inside a worker
outcome   what of its log counts
"""
