"""The coordinator's side of the FHE round: pure functions, bytes in and bytes out.

The coordinator is trusted for availability only. It carries what hospitals sign, adds ciphertexts, and asks the
chain to lock and to attest. It holds no key. Rules of the machine:

* `receive` checks a message and records it, once for each organisation and attempt.
* `advance` is a function of what is recorded and of one view of the chain: it says what to send and what to ask
  of the chain next. Called again, it says nothing that is already recorded.
* Before the lock a silent or refusing hospital is left out by a new attempt, as long as enough remain and no sum
  of an exact analysis was opened with it. After the lock nobody is left out: the round waits, and in the end has
  the self-mask of one that died recovered by its peers. A disputed sum is checked against the commitments by
  all of the set, who name whoever stands against it.
"""

from coordinator.round.checking import Accusation
from coordinator.round.machine import CoordinatorRound
from coordinator.round.words import (
    AttestCall,
    Call,
    LockCall,
    Record,
    Records,
    RecoverCall,
    Rules,
    Step,
    StudyFacts,
    View,
)

__all__ = [
    "Accusation",
    "AttestCall",
    "Call",
    "CoordinatorRound",
    "LockCall",
    "Record",
    "Records",
    "RecoverCall",
    "Rules",
    "Step",
    "StudyFacts",
    "View",
]
