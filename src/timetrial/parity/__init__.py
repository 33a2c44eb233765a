"""Proof that two implementations of a task do the same thing, in float64, to rounding.

scale       the task cut down to a proof of seconds, its data, its mutated twins
side        one implementation in a process of its own: arrays in, arrays out
proof       the checks: each framework beside the NumPy reference
"""
