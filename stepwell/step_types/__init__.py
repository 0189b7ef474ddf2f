"""The built-in step types: one file each declares all that is known of a type, and ``table`` lists them.

From a declaration come the keys that a definition may have, what editors and checks say of them, what dialects call
them, whether a step has attempts, and which function of a worker runs it. What a declaration can say is in
``stepwell.schemas.definitions.step_type``; what checks of several types share is in ``base``.
"""
