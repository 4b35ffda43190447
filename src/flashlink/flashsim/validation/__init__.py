"""Validation: a flash-simulated sample against a detailed one of the same events, in numbers, with a verdict.

::

    generated ┐
    flash     ├─► sample (each particle with both tracks) ─► measure ─► numbers ─► verdict
    reference ┘
"""
