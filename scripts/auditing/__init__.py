"""Compute printed numbers again, by code that shares nothing with what printed them.

Models and test signals are read by the package, for there is one reader of its files. What is
counted, scored and joined from them is computed here with numpy, torch's operation counter, pystoi
and pesq.
"""
