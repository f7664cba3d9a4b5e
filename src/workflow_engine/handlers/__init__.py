"""Task types: the contract (`base`), the registry, and one file per built-in type.

A handler knows nothing of the queue, of leases or of other tasks; what it may use stands in its `TaskContext`.
"""
