"""What the engine does on its own: the leader's duties, one file each, all of one shape (`duty.py`).

They run in every engine process under one leader; two leaders at once do no harm, since each duty is a bounded SQL
function that repeats its predicate under its locks.
"""
