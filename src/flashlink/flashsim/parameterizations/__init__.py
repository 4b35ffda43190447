"""The parameterizations: each, one file, is a function from condition to distribution.

::

    Condition ─► Efficiency ─────► category: not reconstructed, long, upstream or downstream
              ─► Resolution ─────► track state, covariance, chi2, ghost probability, jointly
              ─► Identification ─► is_muon, then all likelihood differences jointly
    event     ─► Vertex ─────────► primary vertex
              ─► Ghosts ─────────► tracks that no particle made

Each has ``fit`` (from a reference sample) and ``sample`` (with random numbers given by the caller, so that it is a pure
function), and is a frozen dataclass that `flashlink.flashsim.tables` writes to and reads from a file. These are binned;
learned ones take their places behind the same two methods.
"""
