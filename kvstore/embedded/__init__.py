"""The embedded API: a store in this process, for threads (`sync`) or an event loop (`aio`).

ops, conditions      what is asked: operations and compares from plain arguments
plans                guarded writes: a transaction and how to read its answer
ranges, watch,       lazy readers, each as a blocking and as an asynchronous class
replay, leases       around one pure state
base, sync, aio      the two faces; nothing here imports `aio` but who asks for it
"""
