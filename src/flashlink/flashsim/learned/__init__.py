"""Learned parameterizations: networks that turn a condition into a distribution of tracks, by onnxruntime alone.

::

    Condition ─► features ─► category chain ─► track chain ─► identification chain ─► Sampled
                             each variable given the condition and the variables before it

`models` holds and reads them, `chain` draws, `variables` and `targets` say what is drawn. What trains them is in
`training`, which needs more packages.
"""
