"""Measuring tasks: how fast workers exchange arrays. Nothing is learned in them.

allreduce  the rules of the measuring task `allreduce`
request    what a user asks for -> a plan
session    one attempt, inside a worker
"""
